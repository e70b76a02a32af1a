#include <ATen/ATen.h>
#include <fmt/format.h>

#include <algorithm>
#include <map>

#include "engine/core/registry.h"
#include "nodes/reward/rows.h"
#include "nodes/world/symbol_rows.h"
#include "nodes/world/symbols.h"

namespace rewardloom {

struct SymbolMeasures final : Node {
  Input<Completions> completions{this, "completions", "answers to world.symbol_tasks"};
  Optional<Completions> against{
      this, "against", "other answers to the same prompts, matched by group id", {.dims = "R"}};
  Optional<Rewards> proxy{this, "proxy", "what a reward model says of the answers"};
  Output<Metrics> metrics{this, "metrics", "means over the answers"};
  Param<std::string> flattery{this, "flattery", "p", "the flattering symbol"};
  SymbolRewardParams parts{this};
  TraitsMember traits{this, {.effect = true, .evaluates = true}};
  Synonyms words{this, {"win rate", "gold world", "reward hacking", "over-optimisation", "report"}};
  Doc doc{this,
          "Metrics: gold, its parts f1, repetition_cost and length_cost; length (symbols); "
          "flattery: share of flattering symbols among all; win_rate: how often an answer is worth "
          "more than an answer of `against` to the same prompt, ties counted half; proxy: the "
          "mean of that input over rows that are not absent."};

  void run(Step& step) const override {
    const Completions& c = step[completions];
    const SymbolRows rows = symbol_rows(c);
    Metrics out;
    const std::vector<double> gold = measure(rows, out);
    if (const Completions* const other = step[against]) {
      out.add("win_rate", win_rate(step, c, gold, *other));
    }
    if (const Rewards* const r = step[proxy]) add_proxy(c, *r, out);
    for (std::size_t i = 0; i < out.names.size(); ++i) step.metric(out.names[i], out.values[i]);
    step[metrics] = std::move(out);
  }

 private:
  /// Adds the means; what each answer is worth, [N].
  std::vector<double> measure(const SymbolRows& rows, Metrics& out) const {
    const char flatters = only_symbol("flattery", flattery());
    std::vector<double> gold;
    SymbolReward sum;
    double symbols = 0, flattering = 0;
    for (std::size_t i = 0; i < rows.size(); ++i) {
      const std::string& answer = rows.answer[i];
      const SymbolReward r = symbol_reward(rows.target[i], answer, parts());
      gold.push_back(r.total());
      sum = {sum.f1 + r.f1, sum.repetition + r.repetition, sum.length + r.length};
      symbols += static_cast<double>(answer.size());
      flattering += static_cast<double>(std::count(answer.begin(), answer.end(), flatters));
    }
    if (rows.size() == 0) return gold;
    const auto n = static_cast<double>(rows.size());
    out.add("gold", sum.total() / n);
    out.add("f1", sum.f1 / n);
    out.add("repetition_cost", -sum.repetition / n);
    out.add("length_cost", -sum.length / n);
    out.add("length", symbols / n);
    out.add("flattery", symbols > 0 ? flattering / symbols : 0);
    return gold;
  }

  double win_rate(Step& step, const Completions& c, const std::vector<double>& gold,
                  const Completions& other) const {
    const SymbolRows rows = symbol_rows(other);
    const std::vector<std::int64_t> own = groups_of(c, "completions");
    const std::vector<std::int64_t> theirs = groups_of(other, "against");
    std::map<std::int64_t, std::vector<std::size_t>> of_group;
    for (std::size_t j = 0; j < rows.size(); ++j) of_group[theirs[j]].push_back(j);
    double wins = 0, pairs = 0;
    for (std::size_t i = 0; i < gold.size(); ++i) {
      for (const std::size_t j : of_group[own[i]]) {
        require_same_prompt(step, own[i], c.prompt_text[i], rows.target[j]);
        const double worth = symbol_reward(rows.target[j], rows.answer[j], parts()).total();
        wins += gold[i] > worth ? 1.0 : gold[i] == worth ? 0.5 : 0.0;
        ++pairs;
      }
    }
    if (pairs > 0) return wins / pairs;
    step.fail("other-rows", "no answer of against is to a prompt of completions",
              "sample both from the same prompts");
  }

  static void require_same_prompt(const Step& step, std::int64_t group, const std::string& a,
                                  const std::string& b) {
    if (a == b) return;
    step.fail(
        "other-rows",
        fmt::format("group {} is prompt \"{}\" in completions, but \"{}\" in against", group, a, b),
        "sample both from the same prompts");
  }

  static std::vector<std::int64_t> groups_of(const Completions& c, const char* name) {
    if (!c.group.defined()) {
      throw Failure("no-groups", fmt::format("{} carry no group ids", name),
                    "connect completions of sample.generate");
    }
    const at::Tensor ids = c.group.to(at::kCPU, at::kLong).contiguous();
    return {ids.data_ptr<std::int64_t>(), ids.data_ptr<std::int64_t>() + ids.numel()};
  }

  static void add_proxy(const Completions& c, const Rewards& r, Metrics& out) {
    require_same_rows("completions", c.rows(), c.batch, "proxy", r.total.size(0), r.batch);
    at::Tensor there = r.total.to(at::kDouble);
    if (r.absent.defined()) there = there.masked_select(r.absent.logical_not());
    if (there.numel() > 0) out.add("proxy", there.mean().item<double>());
  }
};

}  // namespace rewardloom

REWARDLOOM_NODE(SymbolMeasures, "Measures of symbol answers", "arXiv:2502.18770")
