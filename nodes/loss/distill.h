// Distillation on whole next-token distributions.
#pragma once
#include <ATen/core/Tensor.h>

#include <array>

#include "engine/core/node.h"

namespace rewardloom {

enum class DistillForm { jsd, cross_entropy };
constexpr auto choices(DistillForm) {
  return std::to_array<Choice<DistillForm>>({
      {DistillForm::jsd, "jsd", "generalised Jensen-Shannon divergence (arXiv:2306.13649, eq. 1)"},
      {DistillForm::cross_entropy, "cross_entropy", "-sum p_teacher log p_student"},
  });
}

enum class DistillReduce { token_mean, batch_mean };
constexpr auto choices(DistillReduce) {
  return std::to_array<Choice<DistillReduce>>({
      {DistillReduce::token_mean, "token_mean", "sum over tokens / number of tokens"},
      {DistillReduce::batch_mean, "batch_mean", "sum over tokens / rows that have tokens"},
  });
}

struct DistillOptions {
  double beta = 0.5;  ///< 0: KL(teacher || student); 1: KL(student || teacher)
  double temperature = 1;
  DistillReduce reduce = DistillReduce::token_mean;
  DistillForm form = DistillForm::jsd;
};

/// student, teacher: log-probs [..,V] -> sum over the vocabulary [..], in nats: beta KL(teacher ||
/// m)
/// + (1 - beta) KL(student || m), m = beta teacher + (1 - beta) student; at 0 and 1 the plain KL.
at::Tensor generalised_jsd(const at::Tensor& student, const at::Tensor& teacher, double beta);

/// logits, teacher_logits [N,T,V], mask [N,T] -> loss []; divergence [] (mean over tokens). The
/// teacher is constant. Failure `bad-shape` where vocabularies differ.
LossResult distill_loss(const LossBatch& batch, const DistillOptions& options);

enum class AlignForm { theorem1, theorem1_contrast, theorem1_adaptive, aligndistil, gkd };
constexpr auto choices(AlignForm) {
  return std::to_array<Choice<AlignForm>>({
      {AlignForm::theorem1, "theorem1", "teacher a z_d + (1 - a) z_r, a = beta / scale"},
      {AlignForm::theorem1_contrast, "theorem1_contrast",
       "teacher a (z_d - z_r) + z_d, a = beta / scale"},
      {AlignForm::theorem1_adaptive, "theorem1_adaptive",
       "teacher a z_d + (1 - a) z_r, a = scale |p_d - p_r| + 0.001 per position"},
      {AlignForm::aligndistil, "aligndistil",
       "teacher a (z_d - z_r) + z_d, a = scale |p_d - p_r| + 0.001 per position"},
      {AlignForm::gkd, "gkd", "teacher z_d: plain reverse KL"},
  });
}

struct AlignDistillOptions {
  AlignForm form = AlignForm::aligndistil;
  double beta = 0.1;
  double scale = 15;
  double temperature = 1;
  bool length_normalise = true;
};

/// (beta / a) KL(student || teacher) per position (Zhang et al. 2025, arXiv:2503.02832), z_d =
/// teacher_logits, z_r = ref_logits. logits, teacher_logits, ref_logits (not for gkd) [N,T,V], mask
/// [N,T] -> loss [] (mean over rows of the token mean, or sum); token_loss [N,T], weight [] (mean
/// a).
LossResult align_distill_loss(const LossBatch& batch, const AlignDistillOptions& options);

/// Logits of a teacher: constant, with the shape of the student's. Failure `bad-shape`.
at::Tensor teacher_argument(const LossBatch& batch, std::string_view name,
                            const at::Tensor& student, const at::Tensor& mask);

}  // namespace rewardloom
