// Losses over whole next-token distributions in one pass over float32 logits on the CPU. They give
// what the operators of the same losses give; those serve every other device and type.
#pragma once
#include <ATen/core/Tensor.h>

#include <initializer_list>

#include "nodes/loss/distill.h"

namespace rewardloom {

/// Of each position, 0 outside the mask: a number [N,T] and its derivative by the logits [N,T,V].
struct VocabularyPass {
  at::Tensor value;
  at::Tensor derivative;
};

/// Whether the mask [N,T] and all logits [N,T,V] (of one size) are what the passes can take.
bool fits_vocabulary_pass(const at::Tensor& mask, std::initializer_list<at::Tensor> logits);

/// Entropy in nats; logits of -inf have probability 0.
VocabularyPass entropy_pass(const at::Tensor& mask, const at::Tensor& logits);

/// (beta / a) KL(student || teacher) and a [N,T], for the forms whose teacher reaches as far as its
/// two policies differ. Logits of -inf are held at -1e30.
struct AlignPass {
  VocabularyPass loss;
  at::Tensor weight;  ///< [N,T]: a
  at::Tensor kl;      ///< [N,T]
};
AlignPass align_pass(const at::Tensor& mask, const at::Tensor& logits, const at::Tensor& first,
                     const at::Tensor& second, const AlignDistillOptions& options);

/// The values of the pass as a function of the logits.
at::Tensor differentiable(const at::Tensor& logits, const VocabularyPass& pass);

}  // namespace rewardloom
