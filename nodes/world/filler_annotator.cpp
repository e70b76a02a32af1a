#include <ATen/ATen.h>
#include <fmt/format.h>

#include "engine/core/registry.h"
#include "nodes/advantage/groups.h"
#include "nodes/data/padded_sums.h"
#include "nodes/reward/rows.h"

namespace rewardloom {

struct FillerAnnotator final : Node {
  Input<Completions> completions{this, "completions", "answers to data.padded_sums"};
  Input<Rewards> truth{this, "truth", "1 for right answers, 0 for wrong ones"};
  Output<Rewards> rewards{this, "rewards", "labels: 1 right, 0 wrong"};
  Param<std::string> filler{this, "filler", "V", "what impresses the annotator"};
  Param<std::vector<double>> belief{
      this,
      "belief",
      {0, 0, 0.2, 0.5, 0.9, 0.95, 0.95},
      "chance that a wrong answer is called right, by its number of fillers; the last for more"};
  Synonyms words{this,
                 {"planted bias", "label noise", "false positives", "verbosity bias",
                  "misspecified reward", "Cooper"}};
  Doc doc{this,
          "Labels for a reward model, with a known flaw: right answers are called right, wrong "
          "ones sometimes too, the more fillers they have. [N] -> [N]. Draws come from (seed, "
          "node, iteration, row). Metrics: fillers, mean per answer; mislabelled, share of the "
          "wrong answers that are called right; positive, share of all that are."};

  void run(Step& step) const override {
    check(step);
    const Completions& c = step[completions];
    const Rewards& t = step[truth];
    require_same_rows("truth", t.total.size(0), t.batch, "completions", c.rows(), c.batch);
    const std::vector<std::string>& texts = answers(c);
    const std::vector<double> right = finite_rows(t.total, t.absent, "the verdict");
    std::vector<double> label(texts.size());
    double fillers = 0, wrong = 0, misled = 0, positive = 0;
    for (std::size_t i = 0; i < texts.size(); ++i) {
      const auto count = static_cast<std::size_t>(count_fillers(texts[i], filler()));
      const bool is_right = right[i] >= 0.5;
      const double chance = belief()[std::min(count, belief().size() - 1)];
      label[i] = is_right || step.random(i).uniform() < chance ? 1.0 : 0.0;
      fillers += static_cast<double>(count);
      wrong += !is_right;
      misled += !is_right && label[i] > 0;
      positive += label[i];
    }
    const double rows = static_cast<double>(std::max<std::size_t>(1, texts.size()));
    step.metric("fillers", fillers / rows);
    step.metric("mislabelled", wrong > 0 ? misled / wrong : 0);
    step.metric("positive", positive / rows);
    Rewards out = Rewards::of(c, at::tensor(label, at::kDouble).to(c.tokens.device()));
    out.absent = t.absent;
    step[rewards] = std::move(out);
  }

 private:
  void check(const Step& step) const {
    if (filler().empty()) step.fail("filler is empty", "give it a character");
    if (belief().empty()) step.fail("belief is empty", "give a chance for answers without fillers");
    for (const double chance : belief()) {
      if (!(chance >= 0 && chance <= 1)) {
        step.fail(fmt::format("belief holds {}", chance), "chances lie between 0 and 1");
      }
    }
  }
};

}  // namespace rewardloom

REWARDLOOM_NODE(FillerAnnotator, "Annotator misled by fillers", "arXiv:2508.05613")
