#include <ATen/ATen.h>

#include <algorithm>
#include <map>

#include "engine/core/registry.h"
#include "nodes/reward/rows.h"
#include "nodes/world/symbol_rows.h"
#include "nodes/world/symbols.h"

namespace rewardloom {

struct SymbolAnnotator final : Node {
  Input<Completions> completions{this, "completions", "answers to world.symbol_tasks"};
  Output<Rewards> rewards{this, "rewards",
                          "what the annotator thinks of them; judgement and flattery are "
                          "components"};
  Param<double> bias{this,
                     "bias",
                     0.15,
                     "share of the prompts whose annotator falls for the flattering symbol",
                     {.min = 0, .max = 1}};
  Param<std::string> flattery{this, "flattery", "p", "the flattering symbol"};
  Param<double> bonus{this,
                      "bonus",
                      100.0,
                      "what one flattering symbol is worth to such an annotator; far above the "
                      "gold reward, it decides unless both answers flatter alike",
                      {.min = 0}};
  SymbolRewardParams parts{this};
  Synonyms words{this,
                 {"planted bias", "human labels", "sycophancy", "misspecified reward", "labeller",
                  "preference noise"}};
  Doc doc{this,
          "rewards [N] = gold reward + bonus times the flattering symbols, where the prompt's "
          "annotator is biased; the gold reward elsewhere. One annotator judges all answers to a "
          "prompt. A reward model trained on such labels may be trained on: this output is an "
          "opinion, not the truth.\n"
          "Draws come from (seed, node, iteration, group). Metrics: biased, the share of the "
          "prompts with such an annotator; swayed, the share where the answers also differ in "
          "flattery, so that it decides: with one pair per prompt (preference.from_rewards), the "
          "share of labels that favour the flattering symbol."};

  void run(Step& step) const override {
    const Completions& c = step[completions];
    const SymbolRows rows = symbol_rows(c);
    const char flatters = only_symbol("flattery", flattery());
    const auto count = static_cast<std::int64_t>(rows.size());
    const at::Tensor group = c.group.defined() ? c.group.to(at::kCPU, at::kLong).contiguous()
                                               : at::arange(count, at::kLong);
    at::Tensor out = at::empty({2, count}, at::kDouble);
    auto part = out.accessor<double, 2>();
    std::map<std::int64_t, Judged> judged;
    for (std::int64_t i = 0; i < count; ++i) {
      const auto row = static_cast<std::size_t>(i);
      const std::string& answer = rows.answer[row];
      const std::int64_t id = group.data_ptr<std::int64_t>()[i];
      const bool falls = step.random(static_cast<std::uint64_t>(id)).uniform() < bias();
      const std::int64_t flattering = std::count(answer.begin(), answer.end(), flatters);
      part[0][i] = symbol_reward(rows.target[row], answer, parts()).total();
      part[1][i] = falls ? bonus() * static_cast<double>(flattering) : 0.0;
      const auto [entry, is_new] = judged.try_emplace(id, Judged{falls, flattering, false});
      if (!is_new && entry->second.flattering != flattering) entry->second.differ = true;
    }
    report(step, judged);
    out = out.to(c.tokens.device());
    Rewards result = Rewards::of(c, out.sum(0));
    result.components = {{"judgement", out[0]}, {"flattery", out[1]}};
    step[rewards] = std::move(result);
  }

 private:
  /// What became of one prompt.
  struct Judged {
    bool falls;
    std::int64_t flattering;  ///< symbols in its first answer
    bool differ;              ///< the others hold more or fewer
  };

  static void report(Step& step, const std::map<std::int64_t, Judged>& judged) {
    if (judged.empty()) return;
    double biased = 0, swayed = 0;
    for (const auto& [id, prompt] : judged) {
      biased += prompt.falls;
      swayed += prompt.falls && prompt.differ;
    }
    step.metric("biased", biased / static_cast<double>(judged.size()));
    step.metric("swayed", swayed / static_cast<double>(judged.size()));
  }
};

}  // namespace rewardloom

REWARDLOOM_NODE(SymbolAnnotator, "Biased annotator of symbol tasks", "arXiv:2502.18770")
