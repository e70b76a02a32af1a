// Batches for every loss node: what the properties in test_loss_gradients.cpp are tested on.
#pragma once
#include <ATen/ATen.h>

#include <map>
#include <string>
#include <vector>

#include "engine/core/json.h"
#include "engine/core/package.h"
#include "engine/core/random.h"

namespace rewardloom::testing {

/// One loss on one batch, and how that batch may be changed without changing the loss.
struct LossCase {
  std::string type;
  Json params = Json::object();
  Package inputs;
  std::map<std::string, double> totals;  ///< the counts of the whole step
  /// Sizes of micro-batches that add up; none: the loss must refuse a part of a step.
  std::vector<std::vector<std::int64_t>> cuts;
  std::vector<std::string> shared;  ///< inputs without a row dimension
  /// Inputs that move with a differentiated one, where part of the loss is a constant for the
  /// gradient that depends on their difference alone.
  std::map<std::string, std::vector<std::string>> together;
  bool straight_through = false;                        ///< the gradient is not that of the value
  std::map<std::string, at::Tensor> without_influence;  ///< positions [..] bool of an input
  std::vector<std::string> padded;                      ///< inputs [N,T,..] that take more columns
  bool padded_left = true;
  std::vector<std::string> any_width;  ///< inputs whose second dimension is free
  std::string label;

  bool shares(const std::string& name) const {
    return std::find(shared.begin(), shared.end(), name) != shared.end();
  }
  std::string name() const { return type + " " + (label.empty() ? params.dump() : label); }
};

class LossCases {
 public:
  static std::vector<LossCase> all();

 private:
  explicit LossCases(std::uint64_t seed) : random_(RandomKey{seed, 0, 0}) {}
  at::Tensor draw(std::vector<std::int64_t> shape, double low, double high);
  at::Tensor flips(std::int64_t rows);

  void add(LossCase c) { cases_.push_back(std::move(c)); }
  LossCase tokens(const std::string& type, const Json& params, bool all_rows = false);
  LossCase rows_of(const std::string& type, const Json& params, std::int64_t rows);

  void token_losses();
  void ratio_losses();
  void pair_losses();
  void dpo_losses();
  void unpaired_losses();
  void distillation();
  void denoising();
  void reward_models();
  void trajectories();
  void pictures();

  Random random_;
  std::uint64_t drawn_ = 0;
  std::vector<LossCase> cases_;
};

inline constexpr std::int64_t kRows = 6;
inline constexpr std::int64_t kTokens = 5;

inline at::Tensor LossCases::draw(std::vector<std::int64_t> shape, double low, double high) {
  Random random = random_.at(drawn_++);
  at::Tensor out = at::empty(shape, at::kDouble);
  double* const data = out.data_ptr<double>();
  for (std::int64_t i = 0; i < out.numel(); ++i) data[i] = low + (high - low) * random.uniform();
  return out;
}

inline at::Tensor LossCases::flips(std::int64_t rows) {
  at::Tensor out = draw({rows}, 0, 1) > 0.5;
  out[0] = true;
  out[rows - 1] = false;
  return out;
}

/// Right-padded rows of different lengths, one with a hole (an observation), one without any token.
inline at::Tensor ragged_mask() {
  at::Tensor mask = at::zeros({kRows, kTokens}, at::kBool);
  for (std::int64_t row = 0; row < kRows; ++row) {
    if (row != 2) mask[row].slice(0, 0, 1 + (row * 3) % kTokens).fill_(true);
  }
  mask[1][1] = false;
  return mask;
}

inline double count(const at::Tensor& set) { return set.sum().to(at::kDouble).item<double>(); }

/// A batch with a mask; every [N,T] input that the case adds has no influence outside it.
inline LossCase LossCases::tokens(const std::string& type, const Json& params, bool all_rows) {
  const at::Tensor mask = ragged_mask();
  LossCase c;
  c.type = type;
  c.params = params;
  c.inputs.tensors["mask"] = mask;
  c.totals = {{"total_tokens", count(mask)},
              {"total_sequences", all_rows ? kRows : count(mask.any(-1))}};
  c.cuts = {{1, 5}, {3, 3}, {1, 1, 1, 1, 1, 1}};
  c.padded = {"mask"};
  return c;
}

inline LossCase LossCases::rows_of(const std::string& type, const Json& params, std::int64_t rows) {
  LossCase c;
  c.type = type;
  c.params = params;
  c.totals = {{"total_sequences", static_cast<double>(rows)}};
  c.cuts = {{1, rows - 1}, {2, rows - 2}};
  return c;
}

/// Gives a case an input that counts inside the mask only.
inline void add_masked(LossCase& c, const std::string& name, const at::Tensor& value) {
  const at::Tensor outside = c.inputs.tensors.at("mask").logical_not();
  c.inputs.tensors[name] = value;
  c.without_influence[name] =
      value.dim() == 3 ? outside.unsqueeze(-1).expand(value.sizes()) : outside;
  c.padded.push_back(name);
}

}  // namespace rewardloom::testing
