// Losses of what a model says of whole rows (scores, values, log-probs),
// evaluated once for each optimizer step, whatever its micro-batches are.
#pragma once
#include <ATen/core/Tensor.h>

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "nodes/optimize/descent.h"
#include "nodes/optimize/update.h"
#include "nodes/text/row_scores.h"

namespace rewardloom {

/// What is read from the model for each row.
enum class Readout {
  row_score,        ///< a score head's outputs for the row, as the model pools them, [R,K]
  token_values,     ///< a score head's one output before each action, [R,T]
  token_log_probs,  ///< a language model's log-prob of each action, [R,T]
};

/// Means that are gathered over several steps.
class Means {
 public:
  void add(const std::string& name, double value, double weight = 1);
  /// 0 for a name that nothing was added to.
  double at(const std::string& name) const;
  std::map<std::string, double> all() const;

 private:
  struct Sum {
    double total = 0, weight = 0;
  };
  std::map<std::string, Sum> sums_;
};

/// One forward pass over some rows.
struct RowPass {
  RowBatch batch;
  std::unique_ptr<ScoringPass> pass;  ///< null where the rows hold nothing to read
  at::Tensor values;                  ///< float32 on the CPU, 0 where nothing is read
};

/// Reads a decoder's output for rows, and trains it by the gradient of what was
/// read.
class RowReader {
 public:
  /// The decoder and the rows must outlive the reader. Failure `model-head`
  /// where the decoder has not the head that is read.
  RowReader(const Decoder& decoder, const TokenRows& rows, Readout readout);
  RowPass forward(const std::vector<std::int64_t>& rows, bool with_gradient) const;
  /// Given d loss / d values of a pass made with gradient.
  void backward(const RowPass& pass, const at::Tensor& d_values, WeightMap& gradients) const;

 private:
  const Decoder& decoder_;
  const TokenRows& rows_;
  Readout readout_;
};

/// The rows of an optimizer step: unit i is units[i], its rows are
/// rows[first[i]] and those behind.
struct StepRows {
  std::vector<std::int64_t> units;
  std::vector<std::int64_t> rows;
  std::vector<std::int64_t> first;
};

/// The loss [] of a step from its values [R,...], float64 with gradient; R as
/// in StepRows::rows.
using StepLoss = std::function<at::Tensor(const StepRows&, const at::Tensor&)>;

/// The loss is a function of all of a step's values, so that any loss may look
/// at all of them at once. Where a step has several micro-batches the values
/// are computed first without gradient, and each micro-batch's pass is then
/// given its part of d loss / d values (as in Gao et al. 2021,
/// arXiv:2101.06983): one more forward pass, and micro-batches cannot change
/// the result.
class WholeStepObjective final : public Objective {
 public:
  /// `unit_rows`: the rows of each unit. `micro_batch` as in the options of the
  /// descent.
  WholeStepObjective(Step& step, RowReader reader, std::vector<std::vector<std::int64_t>> unit_rows,
                     std::int64_t micro_batch, StepLoss loss);
  std::int64_t units() const override { return static_cast<std::int64_t>(unit_rows_.size()); }
  bool begin(const std::vector<std::int64_t>& units) override;
  void micro_batch(const std::vector<std::int64_t>& units, std::int64_t first, std::int64_t count,
                   Gathered& into) const override;

 private:
  std::vector<std::int64_t> rows_of(std::int64_t first, std::int64_t count) const;
  at::Tensor read_all();

  Step& step_;
  RowReader reader_;
  std::vector<std::vector<std::int64_t>> unit_rows_;
  std::int64_t micro_batch_;
  StepLoss loss_;
  StepRows now_;
  RowPass only_;         ///< of a step that is one micro-batch
  at::Tensor d_values_;  ///< [R,...]
};

/// Sum of the terms on `batch`; their data are rows `index` [n] of what the
/// loss nodes were given. Outputs become means named TERM/OUTPUT with this
/// weight (of several numbers, their mean).
at::Tensor evaluate_terms(const std::vector<UpdateTerm>& terms, const LossBatch& batch,
                          const at::Tensor& index, double weight, Means& means);

/// [n] int64.
at::Tensor int64_tensor(const std::vector<std::int64_t>& values);

}  // namespace rewardloom
