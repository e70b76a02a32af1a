#include "nodes/loss/distill.h"

#include <fmt/format.h>
#include <torch/types.h>

#include <cmath>

#include "engine/core/registry.h"
#include "nodes/loss/aggregate.h"
#include "nodes/loss/log_space.h"

namespace rewardloom {
namespace {

/// KL(p || q) over the last dimension, of floored log-probs.
at::Tensor kl_between(const at::Tensor& log_p, const at::Tensor& log_q) {
  return (log_p.exp() * (log_p - log_q)).sum(-1);
}

}  // namespace

at::Tensor teacher_argument(const LossBatch& batch, std::string_view name,
                            const at::Tensor& student, const at::Tensor& mask) {
  const at::Tensor teacher = logits_argument(batch, name, mask).detach();
  if (teacher.size(-1) == student.size(-1)) return teacher.to(student.scalar_type());
  throw Failure("bad-shape",
                fmt::format("{} has a vocabulary of {} tokens, but the student's has {}", name,
                            teacher.size(-1), student.size(-1)),
                "teacher and student must share one tokenizer");
}

at::Tensor generalised_jsd(const at::Tensor& student, const at::Tensor& teacher, double beta) {
  if (beta == 0) return kl_between(teacher, student);
  if (beta == 1) return kl_between(student, teacher);
  const at::Tensor mixture = at::logaddexp(student + std::log1p(-beta), teacher + std::log(beta));
  return beta * kl_between(teacher, mixture) + (1 - beta) * kl_between(student, mixture);
}

LossResult distill_loss(const LossBatch& batch, const DistillOptions& options) {
  const at::Tensor mask = mask_argument(batch);
  const at::Tensor logits = logits_argument(batch, "logits", mask);
  const at::Tensor teacher_logits = teacher_argument(batch, "teacher_logits", logits, mask);
  const at::Tensor student = floored_log_softmax(logits / options.temperature);
  const at::Tensor teacher = floored_log_softmax(teacher_logits / options.temperature);
  const at::Tensor token_loss = options.form == DistillForm::jsd
                                    ? generalised_jsd(student, teacher, options.beta)
                                    : -(teacher.exp() * student).sum(-1);
  AggregateOptions how;
  if (options.reduce == DistillReduce::batch_mean) how.mode = Aggregate::seq_mean_token_sum;
  LossResult result;
  result.loss = aggregate(token_loss, mask, how, batch);
  result.outputs = {{"divergence", masked_mean(token_loss, mask)}};
  return result;
}

struct Distill final : LossNode {
  Argument logits{this, "logits", "N,T,V", "of the student", {.differentiable = true}};
  Argument teacher_logits{this, "teacher_logits", "N,T,V", "of the teacher"};
  Argument mask{this, "mask", "N,T", "the tokens to be learnt"};
  Param<double> beta{this,
                     "beta",
                     0.5,
                     "0: KL(teacher || student), covers; 1: KL(student || teacher), seeks modes",
                     {.min = 0, .max = 1}};
  Param<double> temperature{
      this, "temperature", 1.0, "divides the logits of both", {.min = 0, .exclusive_min = true}};
  Param<DistillReduce> reduce{this, "reduce", DistillReduce::token_mean,
                              "how tokens become one number"};
  Param<DistillForm> form{this, "form", DistillForm::jsd, "which divergence"};
  Synonyms words{this, {"GKD", "knowledge distillation", "Jensen-Shannon", "teacher"}};
  Doc doc{this,
          "token loss = beta KL(teacher || m) + (1 - beta) KL(student || m), m = beta teacher + (1 "
          "- beta) student, over the whole vocabulary [N,T]; beta 0 and 1: the plain KL; "
          "cross_entropy: -sum p_teacher log p_student.\n"
          "divergence: its mean over the tokens, in nats."};

  LossResult evaluate(const LossBatch& batch) const override {
    return distill_loss(batch, {beta(), temperature(), reduce(), form()});
  }
};

}  // namespace rewardloom

REWARDLOOM_NODE(Distill, "Distillation (generalised Jensen-Shannon)", "arXiv:2306.13649")
