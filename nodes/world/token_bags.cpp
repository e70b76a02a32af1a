#include <ATen/ATen.h>

#include "engine/core/registry.h"
#include "engine/core/step.h"
#include "nodes/world/alphabet_params.h"
#include "nodes/world/token_world.h"

namespace rewardloom {

struct TokenBags final : Node {
  Output<Values> prior{
      this, "prior", "probability of each token in the base policy", {.dims = "V"}};
  Output<Values> value{this, "value", "what each token is worth", {.dims = "V", .gold = true}};
  Output<Preferences> pairs{this, "pairs", "labelled pairs of rows of the base policy"};
  Output<Preferences> held_out{this, "held_out", "further pairs, to measure on"};
  AlphabetParams alphabet{this};
  Param<std::int64_t> length{this, "length", 10, "of a sequence", {.min = 1, .unit = "tokens"}};
  Param<double> rare_weight{this,
                            "rare_weight",
                            0.04,
                            "probability of a rare token, relative to a common one",
                            {.min = 0, .exclusive_min = true}};
  Param<double> rare_value{this, "rare_value", -1.0, "what a rare token is worth"};
  Param<std::int64_t> train_pairs{this, "pairs", 150, "labelled pairs", {.min = 1}};
  Param<std::int64_t> held_out_pairs{this, "held_out_pairs", 500, "to measure on", {.min = 1}};
  Param<double> sharpness{
      this, "sharpness", 2.0, "logits of a label per unit of gold difference", {.min = 0}};
  Param<std::int64_t> marked{
      this, "marked", 0, "common letters from a on that are worth 0", {.min = 0, .max = 26}};
  Param<double> tilt{this,
                     "tilt",
                     0.0,
                     "logits that a label gains where a sequence begins with one of those",
                     {.unit = "logits"}};
  TraitsMember traits{this, {.pure = true}};
  Synonyms words{this,
                 {"gold world", "synthetic preferences", "token sequences", "reward hacking"}};
  Doc doc{
      this,
      "Sequences of letters. The base policy draws common letters (a, b, ...) alike and rare ones "
      "(A, B, ...) seldom; the gold reward of x is the sum of its letters' values over sqrt(T), "
      "values normal and centred, rare ones bad. Labels are drawn with sigmoid(sharpness * gold "
      "difference), so what a reward model says of rare letters is extrapolation. `tilt` with "
      "`marked` adds a cue that goes with the labels and is worth nothing. The world depends on "
      "the seed alone and stays for the whole run."};

  void run(Step& step) const override {
    TokenWorldOptions options{alphabet(), rare_weight(), rare_value(), marked()};
    RandomKey key = step.random_key();
    key.iteration = 0;
    const auto stream = [&](std::uint64_t part) {
      RandomKey own = key;
      own.node = mix(key.node, part);
      return Random(own);
    };
    const TokenWorld world = make_token_world(options, stream(1));
    TokenPairOptions some{train_pairs(), length(), sharpness(), tilt(), marked()};
    step[pairs] = written(draw_token_pairs(world, some, stream(2)));
    some.pairs = held_out_pairs();
    step[held_out] = written(draw_token_pairs(world, some, stream(3)));
    step[prior] = Values{world.prior, 0};
    step[value] = Values{world.value, 0};
  }

 private:
  Preferences written(const TokenPairs& rows) const {
    Preferences out;
    out.chosen = token_texts(rows.chosen, alphabet());
    out.rejected = token_texts(rows.rejected, alphabet());
    out.prompt.resize(out.chosen.size());
    return out;
  }
};

}  // namespace rewardloom

REWARDLOOM_NODE(TokenBags, "World of token sequences", "arXiv:2312.09244")
