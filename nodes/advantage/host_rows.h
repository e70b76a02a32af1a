// Numbers of rows where they can be worked on one by one.
#pragma once
#include <ATen/core/Tensor.h>

namespace rewardloom {

/// values [N] as finite doubles on the host, contiguous: the tensor itself where it is that already
/// and no row is left out (left_out [N] bool, or undefined); left-out rows are 0. Failure
/// `bad-shape`; `not-finite` naming the first row that is neither finite nor left out.
at::Tensor host_rows(const at::Tensor& values, const at::Tensor& left_out, const char* what);

/// The same where finiteness is found out later, and that check.
at::Tensor unchecked_host_rows(const at::Tensor& values, const at::Tensor& left_out,
                               const char* what);
void require_finite(const at::Tensor& host_rows, const char* what);

/// Whether all of `count` numbers are finite.
bool all_finite(const double* numbers, std::int64_t count);

}  // namespace rewardloom
