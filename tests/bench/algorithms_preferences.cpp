// Losses on rows, N = 4096, with their gradients, against the operators of TRL, OpenRLHF and the
// papers: preferences on pairs and single answers, reward models, discriminators, rankings.
#include <cmath>

#include "tests/bench/algorithms.h"

namespace rewardloom::bench {

namespace {

using Args = std::vector<at::Tensor>;

constexpr double kBeta = 0.1;

at::Tensor softplus_loss(const at::Tensor& logits) { return -at::log_sigmoid(logits); }

/// Log-ratios of both answers and of the pair: c, r [N], d = c - r.
using DpoForm = at::Tensor (*)(const at::Tensor& c, const at::Tensor& r, const at::Tensor& d);

/// What TRL gives for every form: rewards of both sides, accuracy, margin.
LossPeer dpo_peer(DpoForm form) {
  return [form](const Args& in) {
    const at::Tensor c = in[0] - in[2], r = in[1] - in[3];
    const at::Tensor d = (in[0] - in[1]) - (in[2] - in[3]);
    const at::Tensor chosen = kBeta * c.detach(), rejected = kBeta * r.detach();
    log_mean(truths(chosen > rejected));
    log_mean(chosen - rejected);
    return form(c, r, d).mean();
  };
}

struct DpoCase {
  const char* variant;
  double smoothing;
  DpoForm form;
};

using T = at::Tensor;
const DpoCase kDpoCases[] = {
    {"sigmoid", 0, [](const T&, const T&, const T& d) { return softplus_loss(kBeta * d); }},
    {"hinge", 0, [](const T&, const T&, const T& d) { return (1 - kBeta * d).relu(); }},
    {"ipo", 0, [](const T&, const T&, const T& d) { return (d - 0.5 / kBeta).square(); }},
    {"exo_pair", 1e-3,
     [](const T&, const T&, const T& d) {
       const T x = kBeta * d;
       return x.sigmoid() * (at::log_sigmoid(x) - std::log(1 - 1e-3)) +
              (-x).sigmoid() * (at::log_sigmoid(-x) - std::log(1e-3));
     }},
    {"nca_pair", 0,
     [](const T& c, const T& r, const T&) {
       return -at::log_sigmoid(kBeta * c) - 0.5 * at::log_sigmoid(-kBeta * c) -
              0.5 * at::log_sigmoid(-kBeta * r);
     }},
    {"robust", 0.1,
     [](const T&, const T&, const T& d) {
       const T x = kBeta * d;
       return (-at::log_sigmoid(x) * 0.9 + at::log_sigmoid(-x) * 0.1) / 0.8;
     }},
    {"bco_pair", 0,
     [](const T& c, const T& r, const T&) {
       return -at::log_sigmoid(kBeta * c) - at::log_sigmoid(-(kBeta * r));
     }},
    {"sppo_hard", 0,
     [](const T& c, const T& r, const T&) {
       return (c - 0.5 / kBeta).square() + (r + 0.5 / kBeta).square();
     }},
    {"aot_unpaired", 0,
     [](const T& c, const T& r, const T&) {
       return softplus_loss(kBeta * (std::get<0>(c.sort(0)) - std::get<0>(r.sort(0))));
     }},
    {"apo_zero", 0,
     [](const T& c, const T& r, const T&) {
       return 1 - (kBeta * c).sigmoid() + (kBeta * r).sigmoid();
     }},
    {"apo_down", 0,
     [](const T& c, const T& r, const T&) {
       return (kBeta * c).sigmoid() + 1 - (kBeta * (c - r)).sigmoid();
     }},
    {"discopop", 0,
     [](const T&, const T&, const T& d) {
       const T x = kBeta * d, blend = (x / 0.05).sigmoid();
       return -at::log_sigmoid(x) * (1 - blend) + (-x).exp() * blend;
     }},
};

/// TRL, with `where` in place of its lists of rows.
at::Tensor kto_peer(const Args& in) {
  const at::Tensor x = in[0] - in[1];
  const at::Tensor kl = (in[3] - in[4]).mean().clamp_min(0).detach();
  const at::Tensor advantage = kBeta * (x - kl);
  log_mean(kBeta * x);
  return (1 - at::where(in[2], advantage, -advantage).sigmoid()).mean();
}

at::Tensor bco_peer(const Args& in) {
  const at::Tensor rewards = kBeta * (in[0] - in[1]);
  const at::Tensor centred = rewards - rewards.mean().detach();
  return softplus_loss(at::where(in[2], centred, -centred)).mean();
}

at::Tensor orpo_peer(const Args& in) {
  const at::Tensor &c = in[0], &r = in[1];
  const at::Tensor odds = (c - r) - ((-c.exp()).log1p() - (-r.exp()).log1p());
  log_mean(truths(odds > 0));
  return 0.1 * softplus_loss(odds).mean();
}

at::Tensor simpo_peer(const Args& in) {
  const at::Tensor gap = in[0] - in[1];
  log_mean(truths(gap > 0));
  log_mean(2.0 * gap);
  return softplus_loss(2.0 * gap - 0.5).mean();
}

at::Tensor bradley_terry_peer(const Args& in) {
  const at::Tensor gap = in[0] - in[1];
  log_mean(truths(gap > 0));
  log_mean(gap);
  return softplus_loss(gap).mean();
}

at::Tensor margin_peer(const Args& in) {
  const at::Tensor gap = in[0] - in[1];
  log_mean(truths(gap > 0));
  log_mean(gap);
  return (softplus_loss(gap - in[2]) + 0.01 * (in[0] + in[1]).square()).mean();
}

at::Tensor attribute_peer(const Args& in) {
  const at::Tensor there = truths(in[1].ne(-100.0)), error = (in[0] - in[1]) * there;
  const at::Tensor count = there.sum();
  (void)(error.detach().abs().sum() / count);
  return error.square().sum() / count;
}

at::Tensor hinge_peer(const Args& in) {
  log_mean(truths(in[0] > 0));
  log_mean(truths(in[1] < 0));
  return 0.5 * ((1 - in[0]).relu().mean() + (1 + in[1]).relu().mean());
}

at::Tensor bce_peer(const Args& in) {
  log_mean(truths(in[0] > 0));
  log_mean(truths(in[1] < 0));
  return 0.5 * (softplus_loss(in[0]).mean() + softplus_loss(-in[1]).mean());
}

at::Tensor pick_peer(const Args& in) {
  const at::Tensor real = (in[0] * in[1]).sum(1), fake = (in[0] * in[2]).sum(1);
  log_mean(truths(real > fake));
  return softplus_loss(real - fake).mean();
}

at::Tensor denoise_kto_peer(const Args& in) {
  const at::Tensor gain = in[1] - in[0], free = gain.detach(), yes = truths(in[2]);
  const at::Tensor no = 1 - yes, sign = yes - no;
  const at::Tensor offset = 0.5 * ((free * yes).sum() / yes.sum() + (free * no).sum() / no.sum());
  const at::Tensor x = sign * (1000 * (gain - offset));
  log_mean(truths(x > 0));
  return (1 - x.sigmoid()).mean();
}

at::Tensor denoise_dpo_peer(const Args& in) {
  const at::Tensor d = 1000.0 * ((in[2] - in[0]) - (in[3] - in[1]));
  log_mean(truths(d > 0));
  log_mean(d);
  return softplus_loss(d).mean();
}

/// All tails of all groups at once: [G,k-1,k].
at::Tensor ranking_peer(const Args& in) {
  const auto [rewards, order] = Batch::by_group(in[1]).sort(1, true);
  const at::Tensor scores = Batch::by_group(in[0]).gather(1, order).unsqueeze(1);
  const at::Tensor behind = at::ones({kGroup - 1, kGroup}, at::kBool).triu().logical_not();
  const at::Tensor target = (rewards.unsqueeze(1) / 0.05).masked_fill(behind, -HUGE_VAL).softmax(2);
  const at::Tensor all =
      scores.expand({-1, kGroup - 1, -1}).masked_fill(behind, -HUGE_VAL).logsumexp(2);
  log_mean(truths(scores.squeeze(1).argmax(1).eq(0)));
  return (all - (target * scores).sum(2)).sum(1).mean();
}

std::vector<Contest> dpo_contests(const Batch& b) {
  const auto sums = [&] { return -b.normal({kRows}).abs() * 20; };
  const Given given = {{"chosen_log_probs", sums()},
                       {"rejected_log_probs", sums()},
                       {"ref_chosen_log_probs", sums()},
                       {"ref_rejected_log_probs", sums()}};
  std::vector<Contest> all;
  for (const DpoCase& c : kDpoCases) {
    const Json params = {{"variant", c.variant},
                         {"beta", kBeta},
                         {"label_smoothing", c.smoothing},
                         {"length_normalise", false}};
    all.push_back(
        loss_contest({std::string("loss.dpo ") + c.variant, params, given, 2}, dpo_peer(c.form)));
  }
  return all;
}

}  // namespace

std::vector<Contest> row_loss_contests(const Batch& b) {
  std::vector<Contest> all = dpo_contests(b);
  const auto normal = [&] { return b.normal({kRows}); };
  const auto below_0 = [&] { return -normal().abs() - 0.1; };
  const at::Tensor wanted = normal() > 0;
  const Given single = {
      {"log_probs", normal()}, {"ref_log_probs", normal()}, {"desirable", wanted}};
  Given with_kl = single;
  with_kl.emplace_back("kl_log_probs", normal());
  with_kl.emplace_back("ref_kl_log_probs", normal());
  const Given pair = {{"chosen_log_probs", below_0()}, {"rejected_log_probs", below_0()}};
  const Given scores = {{"chosen", normal()}, {"rejected", normal()}};
  const Given logits = {{"real", normal()}, {"fake", normal()}};
  const auto features = [&] { return at::empty({kRows, 64}).normal_(0, 0.125, b.generator); };
  const auto add = [&](const char* name, const Json& params, const Given& given,
                       std::int64_t trained, LossPeer peer) {
    all.push_back(loss_contest({name, params, given, trained}, std::move(peer)));
  };
  add("loss.kto", {}, with_kl, 1, kto_peer);
  add("loss.bco", {}, single, 1, bco_peer);
  add("loss.orpo", {}, pair, 2, orpo_peer);
  add("loss.simpo", {}, pair, 2, simpo_peer);
  add("loss.bradley_terry", {}, scores, 2, bradley_terry_peer);
  add("loss.bradley_terry margin, centred", {{"center", 0.01}},
      {scores[0], scores[1], {"margin", normal().abs()}}, 2, margin_peer);
  add("loss.attribute_regression", {},
      {{"predictions", b.normal({kRows, 5})}, {"labels", b.normal({kRows, 5})}}, 1, attribute_peer);
  add("loss.discriminator hinge", {}, logits, 2, hinge_peer);
  add("loss.discriminator bce", {{"kind", "bce"}}, logits, 2, bce_peer);
  add("loss.discriminator pair_cross_entropy", {{"kind", "pair_cross_entropy"}},
      {{"text_features", features()}, {"real_features", features()}, {"fake_features", features()}},
      3, pick_peer);
  add("loss.denoise_pair kto", {},
      {{"error", normal()}, {"ref_error", normal()}, {"desirable", wanted}}, 1, denoise_kto_peer);
  add("loss.denoise_pair dpo", {{"kind", "dpo"}},
      {{"chosen_error", normal()},
       {"rejected_error", normal()},
       {"ref_chosen_error", normal()},
       {"ref_rejected_error", normal()}},
      2, denoise_dpo_peer);
  add("loss.group_ranking", {}, {{"scores", normal()}, {"rewards", normal()}, {"group", b.group}},
      1, ranking_peer);
  return all;
}

}  // namespace rewardloom::bench
