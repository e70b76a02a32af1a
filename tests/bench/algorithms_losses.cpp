// Losses on tokens and on whole vocabularies, with their gradients, against the operators of verl,
// TRL, PRIME and the papers, logged metrics included.
#include <cmath>

#include "tests/bench/algorithms.h"

namespace rewardloom::bench {

namespace {

using Args = std::vector<at::Tensor>;

/// The arguments of a loss on the ratio of the current to the old policy.
struct PolicyArgs {
  at::Tensor x, old, a, m;
  explicit PolicyArgs(const Args& in) : x(in[0]), old(in[1]), a(in[2]), m(in[3].to(at::kFloat)) {}
  /// verl holds the log-ratio within +-20.
  at::Tensor held_log_ratio() const { return (x - old).clamp(-20, 20); }
};

at::Tensor token_mean_of_rows(const at::Tensor& loss, const at::Tensor& m) {
  return ((loss * m).sum(1) / m.sum(1).clamp_min(1)).mean();
}

at::Tensor clip_peer(const Args& in) {
  const PolicyArgs p(in);
  const at::Tensor log_ratio = p.held_log_ratio(), ratio = log_ratio.exp();
  log_metric(-log_ratio, p.m);
  const at::Tensor free = -p.a * ratio, held = -p.a * ratio.clamp(0.8, 1.2);
  const at::Tensor larger = at::max(free, held);
  log_metric(truths(held.gt(free)), p.m);
  return mean_in(larger, p.m);
}

at::Tensor gspo_peer(const Args& in) {
  const PolicyArgs p(in);
  const at::Tensor log_ratio = p.x - p.old, length = p.m.sum(1, true).clamp_min(1);
  const at::Tensor mean = (log_ratio * p.m).sum(1, true) / length;
  const at::Tensor ratio = (p.x - p.x.detach() + mean.detach()).clamp_max(10).exp();
  const at::Tensor free = -p.a * ratio, held = -p.a * ratio.clamp(1 - 3e-4, 1 + 4e-4);
  log_metric(truths(held.gt(free)), p.m);
  log_metric(-log_ratio, p.m);
  return ((at::max(free, held) * p.m).sum(1, true) / length).mean();
}

at::Tensor cispo_peer(const Args& in) {
  const PolicyArgs p(in);
  const at::Tensor log_ratio = p.held_log_ratio();
  const at::Tensor ratio = log_ratio.exp(), held = ratio.clamp(0.8, 1.2).detach();
  log_metric(truths(held.ne(ratio)), p.m);
  log_metric(-log_ratio, p.m);
  return mean_in(-held * p.a * p.x, p.m);
}

at::Tensor sapo_peer(const Args& in) {
  const PolicyArgs p(in);
  const at::Tensor log_ratio = p.held_log_ratio(), ratio = log_ratio.exp();
  const at::Tensor tau = at::where(p.a > 0, at::full({}, 1.0), at::full({}, 1.05));
  const at::Tensor gate = (tau * (ratio - 1)).sigmoid() * (4.0 / tau);
  log_metric(-log_ratio, p.m);
  return token_mean_of_rows(-gate * p.a, p.m);
}

at::Tensor geo_mean_peer(const Args& in) {
  const PolicyArgs p(in);
  const at::Tensor log_ratio = p.x - p.old, sign = p.a.sign();
  log_metric(-log_ratio, p.m);
  const at::Tensor held = log_ratio.clamp(-0.4, 0.4);
  const at::Tensor least = sign * at::min(sign * log_ratio, sign * held);
  const at::Tensor length = p.m.sum(1) + 1e-8;
  const at::Tensor ratio = ((least * p.m).sum(1) / length).exp();
  const at::Tensor advantage = (p.a * p.m).sum(1) / length;
  const at::Tensor clipped = log_ratio.ne(held);
  log_metric(truths(clipped * (p.a > 0)), p.m);
  log_metric(truths(clipped * (p.a < 0)), p.m);
  return (-advantage * ratio).mean();
}

at::Tensor vespo_peer(const Args& in) {
  const PolicyArgs p(in);
  const at::Tensor log_ratio = (p.x - p.old).detach();
  const at::Tensor log_w = (log_ratio.clamp(-20, 20) * p.m).sum(1, true).clamp(std::log(1e-8), 20);
  const at::Tensor positive = (p.a * p.m).sum(1, true) >= 0;
  const at::Tensor k = at::where(positive, at::full({}, 2.0), at::full({}, 3.0));
  const at::Tensor lambda = at::where(positive, at::full({}, 3.0), at::full({}, 2.0));
  const at::Tensor phi = (lambda + k * log_w - lambda * log_w.exp()).exp().nan_to_num(0);
  log_metric(-log_ratio, p.m);
  return mean_in(-phi * p.a * p.x, p.m);
}

at::Tensor covariance_of(const PolicyArgs& p) {
  const at::Tensor x = p.x.detach();
  return (p.a - mean_in(p.a, p.m)) * (x - mean_in(x, p.m));
}

at::Tensor clip_cov_peer(const Args& in) {
  const PolicyArgs p(in);
  const at::Tensor log_ratio = p.x - p.old, ratio = log_ratio.exp();
  log_metric(-log_ratio, p.m);
  const at::Tensor free = -p.a * ratio, held = -p.a * ratio.clamp(0.8, 1.2);
  const at::Tensor covariance = covariance_of(p).masked_fill(held.gt(free), -HUGE_VAL);
  const at::Tensor within = (covariance < 5).logical_and(covariance > 1).logical_and(p.m > 0);
  const auto most =
      std::max<std::int64_t>(1, static_cast<std::int64_t>(2e-4 * p.m.sum().item<double>()));
  at::Tensor places = within.flatten().nonzero().squeeze(1);
  places = places.index_select(0, at::randperm(places.numel()).slice(0, 0, most));
  const at::Tensor left = at::ones_like(p.a).flatten().index_fill_(0, places, 0).view_as(p.a);
  log_metric(truths(left.eq(0)), p.m);
  return mean_in(at::max(free, held) * left, p.m);
}

at::Tensor kl_cov_peer(const Args& in) {
  const PolicyArgs p(in);
  const at::Tensor log_ratio = p.x - p.old, magnitude = log_ratio.abs();
  log_metric(magnitude, p.m);
  const at::Tensor places = (p.m > 0).flatten().nonzero().squeeze(1);
  const at::Tensor a = p.a.flatten().index_select(0, places);
  const at::Tensor x = p.x.detach().flatten().index_select(0, places);
  const at::Tensor covariance = (a - a.mean()) * (x - x.mean());
  const auto most =
      std::max<std::int64_t>(1, static_cast<std::int64_t>(2e-4 * static_cast<double>(a.numel())));
  const at::Tensor chosen = places.index_select(0, std::get<1>(covariance.topk(most)));
  const at::Tensor plain = -p.a * log_ratio.exp();
  const at::Tensor penalised = at::zeros_like(p.a).flatten().index_fill_(0, chosen, 1);
  return mean_in(at::where(penalised.view_as(p.a) > 0, plain + magnitude, plain), p.m);
}

at::Tensor kl_peer(const Args& in) {
  const at::Tensor m = in[2].to(at::kFloat);
  const at::Tensor d = (in[1] - in[0]).clamp(-20, 20);
  const at::Tensor kl = (d.exp() - d - 1).clamp(-10, 10);
  log_metric(kl, m);
  return mean_in(kl, m);
}

at::Tensor value_peer(const Args& in) {
  const at::Tensor &x = in[0], &old = in[1], &returns = in[2], m = in[3].to(at::kFloat);
  const at::Tensor held = at::max(at::min(x, old + 0.2), old - 0.2);
  const at::Tensor free_loss = (x - returns).square(), held_loss = (held - returns).square();
  log_metric(truths(held_loss.gt(free_loss)), m);
  return 0.5 * mean_in(at::max(free_loss, held_loss), m);
}

at::Tensor value_cross_entropy_peer(const Args& in) {
  const at::Tensor m = in[2].to(at::kFloat);
  log_metric((in[0].detach().sigmoid() - in[1]).abs(), m);
  return mean_in(at::binary_cross_entropy_with_logits(in[0], in[1], {}, {}, at::Reduction::None),
                 m);
}

/// PRIME's outcome loss of its process reward model.
at::Tensor implicit_process_peer(const Args& in) {
  const at::Tensor score = (in[0] * in[2].to(at::kFloat)).sum(1) * 0.05;
  return at::binary_cross_entropy_with_logits(score, in[1].to(at::kFloat));
}

at::Tensor return_decomposition_peer(const Args& in) {
  const at::Tensor &rewards = in[0], &lengths = in[2];
  const at::Tensor m = truths(at::arange(kTokens).unsqueeze(0) < lengths.unsqueeze(1));
  const at::Tensor error = (rewards * m).sum(1) / lengths - in[1] / lengths;
  log_mean(error.detach().abs());
  return error.square().mean();
}

at::Tensor token_guided_peer(const Args& in) {
  const auto side = [&](std::size_t k, double sign) {
    const at::Tensor weight = 1 + sign * 0.05 * (in[k + 4] - in[k + 2]);
    return 0.1 * (weight * (in[k] - in[k + 2])).sum(1);
  };
  const at::Tensor logits = side(0, 1) - side(1, -1);
  log_mean(truths(logits > 0));
  return -at::log_sigmoid(logits).mean();
}

}  // namespace

std::vector<Contest> token_loss_contests(const Batch& b) {
  const Given policy = {{"log_probs", b.log_probs},
                        {"old_log_probs", b.old_log_probs},
                        {"advantages", b.advantages},
                        {"mask", b.mask}};
  const double tokens = b.mask.sum().item<double>();
  const Given plain = {{"log_probs", b.log_probs}, {"mask", b.mask}};
  const at::Tensor labels = truths(b.token_rewards > 0), lengths = b.mask.sum(1);
  const auto contest = [tokens](const char* name, const Json& params, const Given& given,
                                LossPeer peer, std::int64_t trained = 1) {
    return loss_contest({name, params, given, trained, tokens}, std::move(peer));
  };
  return {
      contest("loss.policy_clip", {{"low", 0.2}, {"high", 0.2}}, policy, clip_peer),
      contest("loss.gspo", {}, policy, gspo_peer),
      contest("loss.cispo", {}, policy, cispo_peer),
      contest("loss.sapo", {{"preset", "verl"}}, policy, sapo_peer),
      contest("loss.geo_mean", {}, policy, geo_mean_peer),
      contest("loss.vespo", {}, policy, vespo_peer),
      contest("loss.clip_cov", {}, policy, clip_cov_peer),
      contest("loss.kl_cov", {}, policy, kl_cov_peer),
      contest("loss.policy_gradient", {},
              {{"log_probs", b.log_probs}, {"advantages", b.advantages}, {"mask", b.mask}},
              [](const Args& in) { return mean_in(-in[1] * in[0], in[2].to(at::kFloat)); }),
      contest("loss.nll", {}, plain,
              [](const Args& in) {
                const at::Tensor loss = mean_in(-in[0], in[1].to(at::kFloat));
                (void)loss.detach().item<float>();
                return loss;
              }),
      contest("loss.entropy", {}, {{"entropy", b.log_probs.neg()}, {"mask", b.mask}},
              [](const Args& in) {
                const at::Tensor loss = mean_in(in[0], in[1].to(at::kFloat));
                (void)loss.detach().item<float>();
                return loss;
              }),
      contest("loss.kl", {{"estimator", "k3"}},
              {{"log_probs", b.log_probs}, {"ref_log_probs", b.ref_log_probs}, {"mask", b.mask}},
              kl_peer),
      contest("loss.value_clip", {{"clip", 0.2}},
              {{"values", b.values + 0.1},
               {"old_values", b.values},
               {"returns", b.token_rewards},
               {"mask", b.mask}},
              value_peer),
      contest("loss.value_cross_entropy", {},
              {{"values", b.values}, {"labels", labels}, {"mask", b.mask}},
              value_cross_entropy_peer),
      contest("loss.implicit_process", {},
              {{"log_ratio", b.log_probs - b.ref_log_probs},
               {"outcome", truths(b.rewards > 0)},
               {"mask", b.mask}},
              implicit_process_peer),
      contest("loss.return_decomposition", {},
              {{"step_rewards", b.token_rewards},
               {"returns", b.rewards.to(at::kFloat)},
               {"lengths", lengths}},
              return_decomposition_peer),
      contest("loss.token_guided_dpo", {},
              {{"chosen_log_probs", b.log_probs},
               {"rejected_log_probs", b.old_log_probs},
               {"ref_chosen_log_probs", b.ref_log_probs},
               {"ref_rejected_log_probs", b.ref_log_probs},
               {"guide_chosen_log_probs", b.old_log_probs},
               {"guide_rejected_log_probs", b.log_probs}},
              token_guided_peer, 2),
  };
}

namespace {

/// TRL's generalised_jsd_loss.
at::Tensor distill_peer(const Args& in) {
  const at::Tensor m = in[2].to(at::kFloat);
  const at::Tensor student = in[0].log_softmax(-1), teacher = in[1].log_softmax(-1);
  const at::Tensor mixture =
      at::stack({student + std::log(0.5), teacher + std::log(0.5)}).logsumexp(0);
  const auto to = [&](const at::Tensor& from) {
    return at::kl_div(mixture, from, at::Reduction::None, true);
  };
  const at::Tensor token_loss = (0.5 * to(teacher) + 0.5 * to(student)).sum(-1);
  log_metric(token_loss, m);
  return mean_in(token_loss, m);
}

at::Tensor align_distill_peer(const Args& in) {
  const at::Tensor &z = in[0], &first = in[1], &second = in[2], m = in[3].to(at::kFloat);
  const at::Tensor weight = 15 * (first.softmax(-1) - second.softmax(-1)).abs().sum(-1) + 1e-3;
  const at::Tensor a = weight.unsqueeze(-1);
  const at::Tensor target = (a * (first - second) + first).log_softmax(-1);
  const at::Tensor student = z.log_softmax(-1);
  const at::Tensor kl = (student.exp() * (student - target)).sum(-1);
  log_metric(weight, m);
  log_metric(kl, m);
  return token_mean_of_rows(0.1 / weight * kl, m);
}

/// verl's entropy_from_logits.
at::Tensor entropy_peer(const Args& in) {
  const at::Tensor& z = in[0];
  const at::Tensor entropy = z.logsumexp(-1) - (z.softmax(-1) * z).sum(-1);
  const at::Tensor loss = mean_in(entropy, in[1].to(at::kFloat));
  (void)loss.detach().item<float>();
  return loss;
}

/// Ctrl-U on segmentation.
at::Tensor uncertain_peer(const Args& in) {
  const at::Tensor first = in[0].log_softmax(1), second = in[1].log_softmax(1);
  const at::Tensor uncertainty = at::kl_div(first, second, at::Reduction::None, true).sum(1);
  const at::Tensor entropy = at::nll_loss2d(first, in[2], {}, at::Reduction::None, 255);
  const at::Tensor damped = (entropy * (-uncertainty).exp()).mean();
  log_mean(damped);
  log_mean(uncertainty);
  return 0.1 * damped + uncertainty.mean();
}

}  // namespace

/// A vocabulary of 1024 on all N T tokens would fill 16 GiB: N = 64 rows of T = 64 here.
std::vector<Contest> logit_loss_contests(const Batch& b) {
  constexpr std::int64_t rows = 64, tokens = 64, vocabulary = 1024;
  const at::Tensor mask =
      at::arange(tokens).unsqueeze(0) < b.mask.sum(1, true).slice(0, 0, rows) / (kTokens / tokens);
  const auto logits = [&] { return b.normal({rows, tokens, vocabulary}); };
  const double count = mask.sum().item<double>();
  const Given student = {{"logits", logits()}, {"teacher_logits", logits()}, {"mask", mask}};
  const Given aligned = {
      {"logits", logits()}, {"teacher_logits", logits()}, {"ref_logits", logits()}, {"mask", mask}};
  const Given pixels = {{"logits", b.normal({4, 19, 128, 128})},
                        {"second_logits", b.normal({4, 19, 128, 128})},
                        {"labels", at::randint(19, {4, 128, 128}, b.generator, at::kLong)},
                        {"timesteps", at::full({4}, 100, at::kLong)}};
  return {
      loss_contest({"loss.distill (vocabulary)", {}, student, 1, count}, distill_peer),
      loss_contest({"loss.align_distill (vocabulary)", {}, aligned, 1, count}, align_distill_peer),
      loss_contest({"loss.entropy (vocabulary)",
                    {},
                    {{"logits", student.front().second}, {"mask", mask}},
                    1,
                    count},
                   entropy_peer),
      loss_contest({"loss.uncertain_consistency (pixels)", {{"ramp_steps", 0}}, pixels, 2},
                   uncertain_peer),
  };
}

}  // namespace rewardloom::bench
