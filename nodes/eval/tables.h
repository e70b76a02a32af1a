// What measuring nodes share: finite tables of numbers, rewards as a table, metrics.
#pragma once
#include <ATen/core/Tensor.h>

#include <cstdint>
#include <span>
#include <vector>

#include "engine/core/port_types.h"
#include "engine/core/step.h"

namespace rewardloom {

/// The numbers as contiguous doubles on the CPU, in the same shape. Failure `bad-shape` unless
/// there are `rank` dimensions, `nothing-to-measure` if one of them is 0, `not-finite` naming the
/// first such element.
at::Tensor finite_table(const at::Tensor& values, std::int64_t rank, const char* what);

/// View of a tensor that `finite_table` made; valid while it lives.
std::span<const double> numbers(const at::Tensor& table);

/// Integers [N] as a list. Failure `bad-shape`, `bad-dtype` for anything but whole numbers.
std::vector<std::int64_t> whole_numbers(const at::Tensor& values, const char* what);

/// The rewards [n <= N] of rows that are not absent. Failure `not-finite`, `nothing-to-measure`.
std::vector<double> present_rewards(const Rewards& rewards, const char* what);

/// Doubles as a tensor [n].
at::Tensor as_tensor(const std::vector<double>& values);
at::Tensor as_tensor(const std::vector<std::int64_t>& values);

/// Rewards [N] as a table [P,K] of doubles: one row per group, in the order of each group's first
/// row, members in row order. Failure `ragged-groups` naming groups of another size, `absent-rows`.
at::Tensor reward_table(const Rewards& rewards, const char* what);

/// The table that is connected: `scores` [P,K], else `rewards` by group. Failure
/// `nothing-to-measure` if neither is.
at::Tensor table_of(const Values* scores, const Rewards* rewards, const char* what);

/// Records every number under this node's name and hands them out.
void put_metrics(Step& step, const Output<Metrics>& port, Metrics metrics);

}  // namespace rewardloom
