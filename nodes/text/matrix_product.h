// Single-precision matrix products whose every element is one sum in one fixed order.
#pragma once
#include <cstddef>
#include <cstdint>
#include <vector>

namespace rewardloom {

/// A right-hand factor B [inner, columns] packed into panels that the product streams through.
/// `row_stride` and `column_stride` are in elements, so that a transposed view packs as well.
class PackedMatrix {
 public:
  PackedMatrix() = default;
  PackedMatrix(const float* b, std::int64_t inner, std::int64_t columns, std::int64_t row_stride,
               std::int64_t column_stride);
  /// Packs again into the same memory where it suffices.
  void assign(const float* b, std::int64_t inner, std::int64_t columns, std::int64_t row_stride,
              std::int64_t column_stride);
  std::int64_t inner() const { return inner_; }
  std::int64_t columns() const { return columns_; }
  const float* data() const { return panels_.data(); }

 private:
  std::int64_t inner_ = 0;
  std::int64_t columns_ = 0;
  std::vector<float> panels_;
};

/// A left-hand factor A [rows, inner] seen through strides in elements.
struct MatrixView {
  const float* data = nullptr;
  std::int64_t row_stride = 0;
  std::int64_t column_stride = 1;
};

/// C [rows, columns] = A B, or C += A B. Element (i, j) is the sum over the inner index in rising
/// order, so that it depends on row i of A and column j of B alone: neither on the other rows of a
/// batch nor on a thread count.
void matrix_product(std::int64_t rows, const MatrixView& a, const PackedMatrix& b, float* c,
                    std::int64_t c_stride, bool accumulate);

}  // namespace rewardloom
