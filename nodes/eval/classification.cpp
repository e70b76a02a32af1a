#include "engine/core/registry.h"
#include "nodes/eval/tables.h"
#include "nodes/reward/rows.h"

namespace rewardloom {

struct EvalClassification final : Node {
  Input<Rewards> scores{this, "scores", "of a verifier or reward model"};
  Input<Rewards> truth{this, "truth", "1 where it should say yes, 0 where no"};
  Optional<Rewards> among{this, "among", "only rows that have 1 here count"};
  Output<Metrics> metrics{this, "metrics", "accuracy, precision, recall, specificity, rows"};
  Param<double> threshold{this, "threshold", 0.5, "scores above it say yes"};
  TraitsMember traits{this, {.effect = true, .evaluates = true}};
  Synonyms words{this,
                 {"verifier accuracy", "confusion matrix", "true positives", "false positives"}};
  Doc doc{this,
          "A score as a yes or no, against the truth: accuracy, the share of rows judged rightly; "
          "precision, the share of yes that is right; recall, the share of true rows that get a "
          "yes; specificity, the share of false rows that get a no. A share of nothing is not "
          "given. Rows that any input leaves out do not count. [N], [N] -> numbers."};

  void run(Step& step) const override {
    const Rewards& s = step[scores];
    const Rewards& t = step[truth];
    require_same_rows("scores", s.total.size(0), s.batch, "truth", t.total.size(0), t.batch);
    at::Tensor absent = absent_in_any({{"scores", &s}, {"truth", &t}});
    const Rewards* const chosen = step[among];
    std::vector<double> counts(numbers_of(t.total).size(), 1.0);
    if (chosen != nullptr) {
      require_same_rows("scores", s.total.size(0), s.batch, "among", chosen->total.size(0),
                        chosen->batch);
      absent = either_absent(absent, absent_in_any({{"among", chosen}}));
      counts = numbers_of(chosen->total);
    }
    put_metrics(step, metrics, judged(numbers_of(s.total), numbers_of(t.total), counts, absent));
  }

 private:
  Metrics judged(const std::vector<double>& score, const std::vector<double>& right,
                 const std::vector<double>& counts, const at::Tensor& absent) const {
    const std::vector<double> left_out =
        absent.defined() ? numbers_of(absent) : std::vector<double>(score.size());
    double said[2][2] = {};  // by truth, by what was said
    for (std::size_t i = 0; i < score.size(); ++i) {
      if (left_out[i] == 0 && counts[i] >= 0.5) ++said[right[i] >= 0.5][score[i] > threshold()];
    }
    const double yes = said[1][1], missed = said[1][0], wrong_yes = said[0][1], no = said[0][0];
    Metrics out;
    const auto share = [&](const char* name, double part, double rest) {
      if (part + rest > 0) out.add(name, part / (part + rest));
    };
    share("accuracy", yes + no, missed + wrong_yes);
    share("precision", yes, wrong_yes);
    share("recall", yes, missed);
    share("specificity", no, wrong_yes);
    out.add("rows", yes + no + missed + wrong_yes);
    return out;
  }
};

}  // namespace rewardloom

REWARDLOOM_NODE(EvalClassification, "Scores as verdicts", "doi:10.1016/j.patrec.2005.10.010")
