// What is known of a language model before its weights are read.
#pragma once
#include <memory>

#include "engine/core/estimate.h"
#include "nodes/text/language_model.h"
#include "nodes/text/pass_cost.h"

namespace rewardloom {

struct LanguageModelFacts final : HandleFacts {
  ModelConfig config;
  std::shared_ptr<const Tokenizer> tokenizer;
  TrainedPart part = TrainedPart::all;
  c10::Device device{c10::kCPU};

  /// Whether passes run in this project's own kernels; see Decoder.
  bool own_kernels() const { return config.has_own_kernels() && device.is_cpu(); }
  std::int64_t trained_parameters() const;
  /// Bytes of the copies of the weights that passes make, counted once for each model.
  double take_copies(bool with_gradient) const;

 private:
  mutable bool counted_ = false, counted_with_gradient_ = false;
};

/// Reads the configuration and the tokenizer. Failures as make_language_model.
std::shared_ptr<const LanguageModelFacts> model_facts(const ModelSource& source, TrainedPart part);
/// Those of a copy of the model.
std::shared_ptr<const LanguageModelFacts> facts_of_copy(const LanguageModelFacts& model);
/// The same trunk under a new score head.
std::shared_ptr<const LanguageModelFacts> facts_with_score_head(const LanguageModelFacts& trunk,
                                                                HeadKind kind, std::int64_t labels,
                                                                TrainedPart part);
/// Those of a handle's extent. Failure `estimate` where nothing is known of its model.
const LanguageModelFacts& facts_of(const Extent& extent);
/// Parameters and weights of a model that a node makes, and what its handle then knows.
void state_model(Estimate& estimate, Extent& handle,
                 std::shared_ptr<const LanguageModelFacts> facts);
/// Forward passes over these rows, of which the written tokens are read, or one token of each.
void state_scoring(Estimate& estimate, const LanguageModelFacts& model, const Extent& rows,
                   bool last_token_only);
/// Adds `count` passes like this one that are under way at once.
void add_passes(NodeCost& cost, const PassBytes& pass, std::int64_t count);
/// Work at the rate of passes of this size.
Work pass_work(const LanguageModelFacts& model, double flop, const PassSize& size,
               bool with_gradient);
/// What `count` of the rows are to a pass, one of the longest among them.
PassSize some_of(const Extent& rows, std::int64_t count);

/// Lengths of rows of tokens, without what follows the last token that is read.
class RowLengths {
 public:
  void add(std::int64_t before, std::int64_t written);
  const Extent& extent() const { return extent_; }

 private:
  Extent extent_;
};
/// Reference answers behind their prompts, each with an end token.
Extent answer_extent(const LanguageModelFacts& model, const Extent& prompts);
/// Chosen and rejected answers behind their prompts, each with an end token.
Extent pair_extent(const LanguageModelFacts& model, const Extent& preferences);

}  // namespace rewardloom
