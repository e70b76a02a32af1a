#include <ATen/ATen.h>
#include <fmt/format.h>

#include "engine/core/registry.h"
#include "engine/core/step.h"
#include "nodes/advantage/groups.h"
#include "nodes/preference/pairs.h"
#include "nodes/reward/rows.h"

namespace rewardloom {

struct PreferenceFromRewards final : Node {
  Input<Completions> completions{this, "completions", "answers, several to a prompt"};
  Input<Rewards> rewards{this, "rewards", "what says which one is better"};
  Output<Preferences> preferences{this, "preferences", "pairs of answers to the same prompt"};
  Param<PairChoice> pairs{this, "pairs", PairChoice::best_worst, "which rows of a group meet"};
  Param<std::int64_t> per_group{
      this, "per_group", 1, "random: pairs of each group", {.min = 1, .unit = "pairs"}};
  Param<double> min_gap{
      this, "min_gap", 0.0, "pairs whose rewards differ by no more are left out", {.min = 0}};
  Param<PairLabel> label{this, "label", PairLabel::reward, "who is preferred"};
  Param<double> temperature{this,
                            "temperature",
                            1.0,
                            "sampled: how noisy a label is, in units of reward",
                            {.min = 0, .exclusive_min = true}};
  Param<double> noise{this,
                      "label_noise",
                      0.0,
                      "probability with which a label is turned around",
                      {.min = 0, .max = 0.5}};
  Param<bool> with_margin{this, "margin", false,
                          "adds the gap of rewards, which pairwise losses subtract"};
  Synonyms words{this,
                 {"best of n", "online DPO", "preference pairs", "synthetic labels",
                  "Bradley-Terry labels", "rejection sampling", "label noise"}};
  Doc doc{this,
          "Pairs never leave a group. Absent rows are in none. With "
          "label reward, rows of equal "
          "reward are no pair. margin [pairs] = reward of chosen - "
          "reward of rejected, negative "
          "where a label was turned around. Draws come from (seed, node, "
          "iteration, group).\n"
          "Metrics: pairs; groups/without_pair (share); turned (share of "
          "labels against the "
          "rewards)."};

  void run(Step& step) const override {
    const Completions& c = step[completions];
    const Rewards& r = step[rewards];
    require_same_rows("completions", c.rows(), c.batch, "rewards", r.total.size(0), r.batch);
    const std::vector<std::string>& texts = answers(c);
    const std::vector<double> scores = finite_rows(r.total, r.absent, "the reward");
    const Groups groups(c.group, r.absent, c.rows());
    const PairOptions options{pairs(), per_group(), min_gap(), label(), temperature(), noise()};
    Preferences out;
    std::vector<double> margin;
    double without = 0, turned = 0;
    for (std::size_t g = 0; g < groups.count(); ++g) {
      const auto made = labelled_pairs(scores, groups.rows(g), options,
                                       step.random(static_cast<std::uint64_t>(g)));
      without += made.empty();
      for (const LabelledPair& pair : made) {
        const auto chosen = static_cast<std::size_t>(pair.chosen);
        const auto rejected = static_cast<std::size_t>(pair.rejected);
        out.prompt.push_back(c.prompt_text.at(chosen));
        out.chosen.push_back(texts[chosen]);
        out.rejected.push_back(texts[rejected]);
        margin.push_back(scores[chosen] - scores[rejected]);
        turned += pair.flipped;
      }
    }
    if (with_margin()) out.margin = at::tensor(margin, at::TensorOptions().dtype(at::kDouble));
    out.batch = step.new_batch();
    report(step, static_cast<double>(groups.count()), static_cast<double>(margin.size()), without,
           turned);
    step[preferences] = std::move(out);
  }

 private:
  static void report(Step& step, double groups, double pairs, double without, double turned) {
    step.metric("pairs", pairs);
    step.metric("groups/without_pair", groups > 0 ? without / groups : 0);
    step.metric("turned", pairs > 0 ? turned / pairs : 0);
    if (pairs == 0) {
      step.alarm("no-pairs", fmt::format("none of {} groups has two rows of different reward",
                                         static_cast<std::int64_t>(groups)));
    }
  }
};

}  // namespace rewardloom

REWARDLOOM_NODE(PreferenceFromRewards, "Preferences from rewards", "arXiv:2203.02155")
