#include "nodes/image/class_scores.h"

#include <torch/types.h>

namespace rewardloom {
namespace {

at::Tensor unit_length(const at::Tensor& rows) { return rows / (rows.norm(2, {-1}, true) + 1e-6); }

}  // namespace

at::Tensor class_scores(const EncodedImages& encoded, const at::Tensor& class_weights,
                        const at::Tensor& labels, ClassScore score) {
  const auto of_class = [&](const at::Tensor& table) {
    return table.gather(1, labels.unsqueeze(1)).squeeze(1);
  };
  switch (score) {
    case ClassScore::probability: return of_class(encoded.logits.softmax(-1));
    case ClassScore::log_probability: return of_class(encoded.logits.log_softmax(-1));
    case ClassScore::logit: return of_class(encoded.logits);
    case ClassScore::correct:
      return encoded.logits.argmax(-1).eq(labels).to(encoded.logits.scalar_type());
    case ClassScore::cosine: break;
  }
  const at::Tensor text = unit_length(class_weights.index_select(0, labels));
  return (text * unit_length(encoded.global)).sum(-1);
}

}  // namespace rewardloom
