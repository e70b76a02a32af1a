#include <ATen/ATen.h>

#include "engine/core/registry.h"
#include "nodes/eval/tables.h"
#include "nodes/reward/rows.h"

namespace rewardloom {

struct EvalProxyGap final : Node {
  Input<Rewards> proxy{this, "proxy", "what the policy is trained on"};
  Input<Rewards> gold{this, "gold",
                      "what the same rows are worth, or a reward model that is not trained on"};
  Output<Metrics> metrics{this, "metrics", "proxy, gold, gap"};
  TraitsMember traits{this, {.effect = true, .evaluates = true}};
  Synonyms words{this, {"overoptimisation", "reward hacking", "Goodhart", "gold reward"}};
  Doc doc{
      this,
      "Means of both over rows that both could score, and gap = proxy - gold: what grows when a "
      "policy exploits the errors of its reward. The two need one scale.\n"
      "Where proxy goes on rising while gold falls, beyond what both waver, the run gives the alarm "
      "overoptimisation."};

  void run(Step& step) const override {
    const Rewards& p = step[proxy];
    const Rewards& g = step[gold];
    require_same_rows("proxy", p.total.size(0), p.batch, "gold", g.total.size(0), g.batch);
    Rewards a = p, b = g;
    a.absent = b.absent = absent_in_any({{"proxy", &p}, {"gold", &g}});
    const auto mean = [](const Rewards& rewards, const char* what) {
      return as_tensor(present_rewards(rewards, what)).mean().item<double>();
    };
    Metrics out;
    out.add("proxy", mean(a, "proxy"));
    out.add("gold", mean(b, "gold"));
    out.add("gap", out.values[0] - out.values[1]);
    put_metrics(step, metrics, std::move(out));
  }
};

}  // namespace rewardloom

REWARDLOOM_NODE(EvalProxyGap, "Proxy against gold", "arXiv:2210.10760")
