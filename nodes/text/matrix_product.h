// Matrix products, summed in single precision, whose every element is one sum in one fixed order.
#pragma once
#include <cstddef>
#include <cstdint>
#include <vector>

#include "nodes/text/parallel_calls.h"

namespace rewardloom {

/// How the elements of a packed factor are stored. A product with a bfloat16 factor rounds the
/// left-hand factor to bfloat16 too; its sums are float32.
enum class FactorType { float32, bfloat16 };

/// A right-hand factor B [inner, columns] packed into panels that the product streams through.
/// `row_stride` and `column_stride` are in elements, so that a transposed view packs as well.
class PackedMatrix {
 public:
  PackedMatrix() = default;
  PackedMatrix(const float* b, std::int64_t inner, std::int64_t columns, std::int64_t row_stride,
               std::int64_t column_stride, FactorType type = FactorType::float32);
  /// Packs again into the same memory where it suffices.
  void assign(const float* b, std::int64_t inner, std::int64_t columns, std::int64_t row_stride,
              std::int64_t column_stride, FactorType type = FactorType::float32);
  FactorType type() const { return type_; }
  std::int64_t inner() const { return inner_; }
  std::int64_t columns() const { return columns_; }
  const float* data() const { return panels_.data(); }
  /// Of a bfloat16 factor: rows 2k (low half) and 2k + 1 of a column in one word.
  const std::uint32_t* pairs() const { return pairs_.data(); }

 private:
  void pack_panel(const float* b, std::int64_t row_stride, std::int64_t column_stride,
                  std::int64_t width, float* out) const;
  void pack_pairs(const float* b, std::int64_t row_stride, std::int64_t column_stride,
                  std::int64_t width, std::uint32_t* out) const;

  FactorType type_ = FactorType::float32;
  std::int64_t inner_ = 0;
  std::int64_t columns_ = 0;
  std::vector<float> panels_;
  std::vector<std::uint32_t> pairs_;
};

/// A left-hand factor A [rows, inner] seen through strides in elements.
struct MatrixView {
  const float* data = nullptr;
  std::int64_t row_stride = 0;
  std::int64_t column_stride = 1;
};

/// C [rows, columns] = A B, or C += A B. Element (i, j) is the sum over the inner index in rising
/// order (of pairs, with bfloat16), so that it depends on row i of A and column j of B alone:
/// neither on the other rows of a batch nor on the threads that `parallel`, unless it is null,
/// shares the columns among.
void matrix_product(std::int64_t rows, const MatrixView& a, const PackedMatrix& b, float* c,
                    std::int64_t c_stride, bool accumulate,
                    const ParallelCalls* parallel = nullptr);

}  // namespace rewardloom
