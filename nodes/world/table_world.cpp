#include <ATen/ATen.h>

#include <cmath>

#include "nodes/world/reward_tables.h"

namespace rewardloom {
namespace {

/// Student's t with a whole number of degrees of freedom.
double student(Random& random, double freedom) {
  const double z = random.normal();
  double squares = 0;
  const int n = std::max(1, static_cast<int>(std::lround(freedom)));
  for (int i = 0; i < n; ++i) {
    const double x = random.normal();
    squares += x * x;
  }
  return z / std::sqrt(squares / n);
}

}  // namespace

TableWorld make_table_world(const TableWorldOptions& options, const Random& random) {
  const std::int64_t rows = options.prompts;
  const std::int64_t columns = options.candidates;
  TableWorld world;
  at::Tensor logits = at::empty({rows, columns}, at::kDouble);
  for (std::int64_t k = 0; k < options.properties; ++k) {
    world.truth.push_back(at::empty({rows, columns}, at::kDouble));
    world.proxy.push_back(at::empty({rows, columns}, at::kDouble));
  }
  const double rest = std::sqrt(1 - options.correlation * options.correlation);
  for (std::int64_t x = 0; x < rows; ++x) {
    for (std::int64_t y = 0; y < columns; ++y) {
      Random draw = random.at(static_cast<std::uint64_t>(x), static_cast<std::uint64_t>(y));
      const std::int64_t at = x * columns + y;
      logits.data_ptr<double>()[at] = draw.normal();
      double first = 0;
      for (std::size_t k = 0; k < world.truth.size(); ++k) {
        const double z = draw.normal();
        const double value = k == 0 ? z : options.correlation * first + rest * z;
        if (k == 0) first = value;
        const double beyond = std::max(0.0, value - options.trained_up_to);
        // The reward model extrapolates upwards: its error is never in the answer's disfavour
        // there.
        const double error =
            options.noise * draw.normal() +
            options.misspecification * beyond * std::abs(student(draw, options.tail));
        world.truth[k].data_ptr<double>()[at] = value;
        world.proxy[k].data_ptr<double>()[at] = value + error;
      }
    }
  }
  world.prior = at::softmax(logits, 1);
  return world;
}

}  // namespace rewardloom
