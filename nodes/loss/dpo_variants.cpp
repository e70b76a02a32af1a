#include <torch/types.h>

#include <bit>
#include <boost/sort/spreadsort/integer_sort.hpp>
#include <cmath>
#include <vector>

#include "nodes/loss/dpo.h"
#include "nodes/loss/known_derivative.h"
#include "nodes/loss/log_space.h"
#include "nodes/loss/row_pass.h"
#include "nodes/loss/row_terms.h"

namespace rewardloom {
namespace {

/// Log-ratios of pairs to the reference, [N] each: tensors, or dual numbers of some of the rows.
template <class X>
struct Sides {
  X chosen, rejected;
  X chosen_score, rejected_score;
  REWARDLOOM_INLINE X delta() const { return chosen_score - rejected_score; }
};

template <class X>
REWARDLOOM_INLINE X score(const X& x, const DpoOptions& options) {
  const double power = options.alpha - 1;
  switch (options.divergence) {
    case Divergence::forward_kl: return -bounded_exp(-x);
    case Divergence::js_divergence: return log_sigmoid(x);
    case Divergence::alpha_divergence:
      if (std::abs(power) < 1e-6) return x;
      return bounded_exp(power * x) / power;
    case Divergence::reverse_kl: break;
  }
  return x;
}

template <class X>
REWARDLOOM_INLINE Sides<X> sides(const X& chosen, const X& rejected, const DpoOptions& options) {
  return {chosen, rejected, score(chosen, options), score(rejected, options)};
}

template <class X>
REWARDLOOM_INLINE X exo_pair(const X& logits, double smoothing) {
  return sigmoid(logits) * (log_sigmoid(logits) - std::log1p(-smoothing)) +
         sigmoid(-logits) * (log_sigmoid(-logits) - std::log(smoothing));
}

template <class X>
REWARDLOOM_INLINE X robust(const X& logits, double flipped) {
  const X clean = logistic_loss(logits), wrong = logistic_loss(-logits);
  return ((1 - flipped) * clean - flipped * wrong) / (1 - 2 * flipped);
}

template <class X>
REWARDLOOM_INLINE X discopop(const X& logits, double tau) {
  const X logistic = logistic_loss(logits) * sigmoid(-logits / tau);
  // exp(-x) sigmoid(x / tau) in one exponential: its factors alone would be inf * 0.
  return logistic + bounded_exp(log_sigmoid(logits / tau) - logits);
}

/// Losses on beta times the gap of scores alone.
template <class X>
REWARDLOOM_INLINE X gap_loss(const X& logits, const DpoOptions& options) {
  switch (options.variant) {
    case DpoVariant::hinge: return relu(1 - logits);
    case DpoVariant::exo_pair: return exo_pair(logits, options.label_smoothing);
    case DpoVariant::robust: return robust(logits, options.label_smoothing);
    case DpoVariant::discopop: return discopop(logits, options.discopop_tau);
    default: return logistic_loss(logits, options.label_smoothing);
  }
}

/// Losses of pairs that need no other pair. gap: of the scores, per token where that is asked.
template <class X>
REWARDLOOM_INLINE X losses_of(const Sides<X>& pair, const X& gap, const DpoOptions& options) {
  const double beta = options.beta;
  switch (options.variant) {
    case DpoVariant::ipo: return square(gap - 0.5 / beta);
    case DpoVariant::sigmoid_norm: return logistic_loss(beta * gap);
    case DpoVariant::nca_pair:
      return logistic_loss(beta * pair.chosen_score) +
             0.5 * logistic_loss(-beta * pair.chosen_score) +
             0.5 * logistic_loss(-beta * pair.rejected_score);
    case DpoVariant::bco_pair:
      return logistic_loss(beta * pair.chosen_score) + logistic_loss(-beta * pair.rejected_score);
    case DpoVariant::sppo_hard:
      return square(pair.chosen_score - 0.5 / beta) + square(pair.rejected_score + 0.5 / beta);
    case DpoVariant::apo_zero: return sigmoid(-beta * pair.chosen) + sigmoid(beta * pair.rejected);
    case DpoVariant::apo_down: return sigmoid(beta * pair.chosen) + sigmoid(-beta * pair.delta());
    default: return gap_loss(beta * gap, options);
  }
}

bool divides_by_lengths(const DpoOptions& options) {
  const bool can =
      options.variant == DpoVariant::ipo || options.variant == DpoVariant::sigmoid_norm;
  return can && options.length_normalise;
}

/// What a DPO loss is given; references are undefined where they are not used, as lengths are.
struct PairArguments {
  at::Tensor chosen, rejected;
  at::Tensor ref_chosen, ref_rejected;
  at::Tensor chosen_lengths, rejected_lengths;
};

PairArguments pair_arguments(const LossBatch& batch, const DpoOptions& options) {
  PairArguments in;
  in.chosen = row_argument(batch, "chosen_log_probs");
  const auto like_chosen = [&](const char* name) {
    return argument_like(batch, name, in.chosen, "chosen_log_probs");
  };
  in.rejected = like_chosen("rejected_log_probs");
  if (!options.reference_free) {
    in.ref_chosen = like_chosen("ref_chosen_log_probs").detach();
    in.ref_rejected = like_chosen("ref_rejected_log_probs").detach();
  }
  if (divides_by_lengths(options)) {
    const auto lengths = [&](const char* name) {
      return like_chosen(name).clamp_min(1).to(in.chosen.scalar_type());
    };
    in.chosen_lengths = lengths("chosen_lengths");
    in.rejected_lengths = lengths("rejected_lengths");
  }
  return in;
}

Sides<at::Tensor> tensor_sides(const PairArguments& in, const DpoOptions& options) {
  const auto ratio = [](const at::Tensor& policy, const at::Tensor& reference) {
    return reference.defined() ? policy - reference : policy;
  };
  return sides<at::Tensor>(ratio(in.chosen, in.ref_chosen), ratio(in.rejected, in.ref_rejected),
                           options);
}

/// Less the mean reward of the step's pairs, so that bco_pair sees the others.
void subtract_mean_reward(Sides<at::Tensor>& pairs, const LossBatch& batch) {
  const at::Tensor &chosen = pairs.chosen_score, &rejected = pairs.rejected_score;
  require_whole_step(pairs_of_step(batch), static_cast<double>(chosen.size(0)),
                     "subtracts the mean reward of all pairs of a step");
  const at::Tensor delta = 0.5 * (chosen.mean() + rejected.mean()).detach();
  pairs.chosen_score = chosen - delta;
  pairs.rejected_score = rejected - delta;
}

at::Tensor sorted_gap(const LossBatch& batch, const at::Tensor& high, const at::Tensor& low) {
  require_whole_step(pairs_of_step(batch), static_cast<double>(high.size(0)),
                     "sorts over all pairs of a step");
  return std::get<0>(high.sort(0)) - std::get<0>(low.sort(0));
}

at::Tensor reference_gap(const PairArguments& in) {
  if (!in.ref_chosen.defined()) return at::zeros_like(in.chosen.detach());
  return in.ref_chosen - in.ref_rejected;
}

at::Tensor tensor_losses(const LossBatch& batch, const PairArguments& in, Sides<at::Tensor> pairs,
                         const DpoOptions& options) {
  const auto sorted = [&](const at::Tensor& high, const at::Tensor& low) {
    return logistic_loss(options.beta * sorted_gap(batch, high, low), options.label_smoothing);
  };
  if (options.variant == DpoVariant::aot) {
    return sorted(in.chosen - in.rejected, reference_gap(in));
  }
  if (options.variant == DpoVariant::aot_unpaired) return sorted(pairs.chosen, pairs.rejected);
  if (options.variant == DpoVariant::bco_pair && options.bco_delta == BcoDelta::batch_mean) {
    subtract_mean_reward(pairs, batch);
  }
  at::Tensor gap = pairs.delta();
  if (divides_by_lengths(options)) {
    gap = pairs.chosen_score / in.chosen_lengths - pairs.rejected_score / in.rejected_lengths;
  }
  return losses_of(pairs, gap, options);
}

/// Rises as sort does: equal numbers, 0 and -0 among them, are equal, what is no number comes last.
std::uint32_t rank_key(float x) {
  if (std::isnan(x)) return ~0U;
  const auto bits = std::bit_cast<std::uint32_t>(x + 0.0f);  // -0 becomes 0
  return bits >> 31 != 0 ? ~bits : bits | 0x80000000U;
}

/// Numbers [N] in ascending order, and where each of them stood. Equal ones keep their order.
struct Ranked {
  at::Tensor values;
  std::vector<std::uint32_t> from;

  explicit Ranked(const at::Tensor& numbers) : values(at::empty(numbers.sizes(), at::kFloat)) {
    const at::Tensor given = numbers.detach().contiguous();
    const float* const x = given.data_ptr<float>();
    std::vector<std::uint64_t> keys(static_cast<std::size_t>(given.numel()));
    for (std::size_t i = 0; i < keys.size(); ++i) {
      keys[i] = std::uint64_t{rank_key(x[i])} << 32 | i;
    }
    boost::sort::spreadsort::integer_sort(keys.begin(), keys.end());
    float* const out = values.data_ptr<float>();
    from.reserve(keys.size());
    for (const std::uint64_t key : keys) {
      from.push_back(static_cast<std::uint32_t>(key));
      out[from.size() - 1] = x[from.back()];
    }
    values.requires_grad_(true);
  }

  /// by_value [N] of the ascending numbers, for the numbers as they stood; undefined stays that.
  at::Tensor in_place(const at::Tensor& by_value) const {
    if (!by_value.defined()) return {};
    at::Tensor out = at::empty(by_value.sizes(), at::kFloat);
    const float* const by = by_value.data_ptr<float>();
    float* const to = out.data_ptr<float>();
    for (std::size_t i = 0; i < from.size(); ++i) to[from[i]] = by[i];
    return out;
  }
};

REWARDLOOM_VECTORISED
PassSums ranked_rows(const PassPlaces& places, double beta, double smoothing) {
  return each_row<2>(
      places, [&](const PassLanes& rows) __attribute__((always_inline)) {
        const Dual<2> gap = trained<2>(rows.in[0], 0) - trained<2>(rows.in[1], 1);
        return PassTerms<2>{logistic_loss(beta * gap, smoothing)};
      });
}

/// The losses of gaps between two ascending rows of numbers [N], and their sum [] with gradient.
struct PairLosses {
  at::Tensor each, sum;
};

PairLosses ranked_losses(const LossBatch& batch, const PairArguments& in,
                         const Sides<at::Tensor>& pairs, const DpoOptions& options) {
  const bool paired = options.variant == DpoVariant::aot;
  require_whole_step(pairs_of_step(batch), static_cast<double>(in.chosen.size(0)),
                     "sorts over all pairs of a step");
  const Ranked high(paired ? in.chosen - in.rejected : pairs.chosen);
  const Ranked low(paired ? reference_gap(in) : pairs.rejected);
  LossPass pass({high.values, low.values}, {}, {.trained = 2, .losses = true});
  pass.set(ranked_rows(pass.places(), options.beta, options.label_smoothing));
  const at::Tensor by_high = high.in_place(pass.derivative(0));
  const at::Tensor by_low = paired ? at::Tensor() : low.in_place(pass.derivative(1));
  const at::Tensor by_rejected = paired && by_high.defined() ? -by_high : by_low;
  const at::Tensor sum = logged_number(pass.sum_of_losses());
  return {pass.losses(), with_derivatives(sum, in.chosen, by_high, in.rejected, by_rejected)};
}

bool ranks_pairs(const DpoOptions& options) {
  return options.variant == DpoVariant::aot || options.variant == DpoVariant::aot_unpaired;
}

bool looks_at_other_pairs(const DpoOptions& options) {
  return ranks_pairs(options) ||
         (options.variant == DpoVariant::bco_pair && options.bco_delta == BcoDelta::batch_mean);
}

/// Logged: rewards of both sides. Sums: pairs in the right order, gaps of rewards.
REWARDLOOM_VECTORISED
PassSums pair_rows(const PassPlaces& places, const DpoOptions& options) {
  const float beta = static_cast<float>(options.beta);
  const bool by_token = places.in[4] != nullptr;
  return each_row<2>(
      places, [&](const PassLanes& rows) __attribute__((always_inline)) {
        const auto pair = sides(trained<2>(rows.in[0], 0) - rows.in[2],
                                trained<2>(rows.in[1], 1) - rows.in[3], options);
        const Dual<2> gap = by_token
                                ? pair.chosen_score / rows.in[4] - pair.rejected_score / rows.in[5]
                                : pair.delta();
        PassTerms<2> terms{losses_of(pair, gap, options)};
        terms.logged[0] = beta * pair.chosen.value;
        terms.logged[1] = beta * pair.rejected.value;
        terms.sums[0] = vector_math::one_where(terms.logged[0] > terms.logged[1]);
        terms.sums[1] = terms.logged[0] - terms.logged[1];
        return terms;
      });
}

LossResult in_one_pass(const LossBatch& batch, const PairArguments& in, const DpoOptions& options) {
  LossPass pass({in.chosen, in.rejected, in.ref_chosen, in.ref_rejected, in.chosen_lengths,
                 in.rejected_lengths},
                {}, {.trained = 2, .logged = 2, .losses = true});
  pass.set(pair_rows(pass.places(), options));
  return {pair_mean_of(pass.sum(), pass.rows(), batch),
          {{"losses", pass.losses()},
           {"chosen_rewards", pass.logged(0)},
           {"rejected_rewards", pass.logged(1)},
           {"accuracy", logged_number(pass.mean_of(0))},
           {"margin", logged_number(pass.mean_of(1))}}};
}

void require_smoothing(const DpoOptions& options) {
  if (options.variant == DpoVariant::exo_pair && options.label_smoothing <= 0) {
    throw Failure("label-smoothing", "exo_pair has label_smoothing 0, so its loss is infinite",
                  "set label_smoothing above 0, e.g. 0.001");
  }
  if (options.variant == DpoVariant::robust && options.label_smoothing >= 0.5) {
    throw Failure("label-smoothing", "robust has label_smoothing 0.5: the labels say nothing",
                  "set label_smoothing below 0.5");
  }
}

}  // namespace

LossResult dpo_loss(const LossBatch& batch, const DpoOptions& options) {
  require_smoothing(options);
  const PairArguments in = pair_arguments(batch, options);
  const bool fits = fits_row_pass({in.chosen, in.rejected, in.ref_chosen, in.ref_rejected,
                                   in.chosen_lengths, in.rejected_lengths});
  if (fits && !looks_at_other_pairs(options)) return in_one_pass(batch, in, options);
  const Sides<at::Tensor> pairs = tensor_sides(in, options);
  PairLosses losses;
  if (fits && ranks_pairs(options)) {
    losses = ranked_losses(batch, in, pairs, options);
  } else {
    losses.each = tensor_losses(batch, in, pairs, options);
    losses.sum = losses.each.sum();
  }
  const at::Tensor chosen = options.beta * pairs.chosen.detach();
  const at::Tensor rejected = options.beta * pairs.rejected.detach();
  return {pair_mean_of(losses.sum, static_cast<double>(in.chosen.size(0)), batch),
          {{"losses", losses.each.detach()},
           {"chosen_rewards", chosen},
           {"rejected_rewards", rejected},
           {"accuracy", plain_mean((chosen > rejected).to(chosen.scalar_type()))},
           {"margin", plain_mean(chosen - rejected)}}};
}

}  // namespace rewardloom
