// What reward nodes share: rewards for completions, and checks that rows belong together.
#pragma once
#include <ATen/core/Tensor.h>

#include <string>
#include <string_view>
#include <vector>

#include "engine/core/port_types.h"
#include "engine/core/step.h"

namespace rewardloom {

/// Rewards for these completions with one component that is called as the node, so that it can
/// still be told apart after combining. scores [N]; the tensor lies where the completions lie.
Rewards scored(const Step& step, const Completions& completions, const std::vector<double>& scores);

/// A copy of `rewards` with another total and, for what made the difference, a component called as
/// the node.
Rewards changed(const Step& step, const Rewards& rewards, const at::Tensor& total);

/// The answers, [N]. Failure `no-text` where the completions carry token ids only.
const std::vector<std::string>& answers(const Completions& completions);
/// The reference answers, [N]. Failure `no-references`.
const std::vector<std::string>& references(const Completions& completions);

/// Failure `bad-shape` unless both have the same number of rows, `other-rows` if they are known to
/// come from different samplings (0 = not known).
void require_same_rows(std::string_view a, std::int64_t a_rows, std::int64_t a_batch,
                       std::string_view b, std::int64_t b_rows, std::int64_t b_batch);

}  // namespace rewardloom
