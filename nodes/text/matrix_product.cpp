#include "nodes/text/matrix_product.h"

#include <algorithm>
#include <cstring>

namespace rewardloom {

namespace {

constexpr std::int64_t panel_width = 32;
constexpr std::int64_t inner_block = 256;

typedef float Vector4 __attribute__((vector_size(16)));
typedef float Vector8 __attribute__((vector_size(32)));
typedef float Vector16 __attribute__((vector_size(64)));

struct Tile {
  std::int64_t inner;
  const float* a;
  std::int64_t row_stride;
  std::int64_t column_stride;
  const float* panel;
  float* c;
  std::int64_t c_stride;
  bool accumulate;
};

/// `Rows` x (`Vectors` vectors) elements of C, held in registers while the inner index runs.
template <typename Vector, int Rows, int Vectors>
[[gnu::always_inline]] inline void multiply_tile(const Tile& t, std::int64_t column) {
  // Template arguments lose their attributes, so that the unaligned form is named here.
  typedef Vector Unaligned __attribute__((aligned(4), may_alias));
  constexpr int lanes = sizeof(Vector) / sizeof(float);
  Vector sum[Rows][Vectors];
  for (int r = 0; r < Rows; ++r) {
    for (int v = 0; v < Vectors; ++v) {
      const float* c = t.c + r * t.c_stride + column + v * lanes;
      sum[r][v] = t.accumulate ? *reinterpret_cast<const Unaligned*>(c) : Vector{};
    }
  }
  const float* b = t.panel + column;
  const float* a = t.a;
  for (std::int64_t k = 0; k < t.inner; ++k, b += panel_width, a += t.column_stride) {
    Vector factor[Vectors];
    for (int v = 0; v < Vectors; ++v)
      factor[v] = *reinterpret_cast<const Unaligned*>(b + v * lanes);
    for (int r = 0; r < Rows; ++r) {
      const float left = a[r * t.row_stride];
      for (int v = 0; v < Vectors; ++v) sum[r][v] += left * factor[v];
    }
  }
  for (int r = 0; r < Rows; ++r) {
    for (int v = 0; v < Vectors; ++v) {
      *reinterpret_cast<Unaligned*>(t.c + r * t.c_stride + column + v * lanes) = sum[r][v];
    }
  }
}

template <typename Vector, int Rows, int Vectors>
[[gnu::always_inline]] inline void multiply_rows(const Tile& t) {
  constexpr int step = Vectors * static_cast<int>(sizeof(Vector) / sizeof(float));
  for (std::int64_t column = 0; column < panel_width; column += step) {
    multiply_tile<Vector, Rows, Vectors>(t, column);
  }
}

template <typename Vector, int Vectors>
[[gnu::always_inline]] inline void multiply_few(const Tile& t, std::int64_t rows) {
  switch (rows) {
    case 1: return multiply_rows<Vector, 1, Vectors>(t);
    case 2: return multiply_rows<Vector, 2, Vectors>(t);
    case 3: return multiply_rows<Vector, 3, Vectors>(t);
    case 4: return multiply_rows<Vector, 4, Vectors>(t);
    case 5: return multiply_rows<Vector, 5, Vectors>(t);
    case 6: return multiply_rows<Vector, 6, Vectors>(t);
    case 7: return multiply_rows<Vector, 7, Vectors>(t);
    default: return;
  }
}

/// All rows against one panel. `Rows` is what the register file of the instruction set holds.
template <typename Vector, int Rows, int Vectors>
[[gnu::always_inline]] inline void multiply_panel(Tile t, std::int64_t rows) {
  std::int64_t row = 0;
  for (; row + Rows <= rows; row += Rows) {
    multiply_rows<Vector, Rows, Vectors>(t);
    t.a += Rows * t.row_stride;
    t.c += Rows * t.c_stride;
  }
  multiply_few<Vector, Vectors>(t, rows - row);
}

using PanelFunction = void (*)(const Tile&, std::int64_t);

[[gnu::target("avx512f,avx512vl,avx512dq,avx512bw,avx2,fma")]] void panel_avx512(
    const Tile& t, std::int64_t rows) {
  multiply_panel<Vector16, 8, 2>(t, rows);
}

[[gnu::target("avx2,fma")]] void panel_avx2(const Tile& t, std::int64_t rows) {
  multiply_panel<Vector8, 6, 2>(t, rows);
}

void panel_portable(const Tile& t, std::int64_t rows) { multiply_panel<Vector4, 4, 2>(t, rows); }

PanelFunction choose_panel() {
  if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
      __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl")) {
    return panel_avx512;
  }
  if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) return panel_avx2;
  return panel_portable;
}

/// The last columns of C, which fill no whole panel, are computed beside it and copied.
void multiply_edge(PanelFunction multiply, Tile t, std::int64_t rows, std::int64_t width) {
  constexpr std::int64_t block = 8;
  float edge[block * panel_width];
  for (std::int64_t row = 0; row < rows; row += block) {
    const std::int64_t count = std::min(block, rows - row);
    Tile part = t;
    part.a = t.a + row * t.row_stride;
    part.c = edge;
    part.c_stride = panel_width;
    float* c = t.c + row * t.c_stride;
    if (t.accumulate) {
      std::memset(edge, 0, sizeof(edge));
      for (std::int64_t r = 0; r < count; ++r) {
        std::memcpy(edge + r * panel_width, c + r * t.c_stride, width * sizeof(float));
      }
    }
    multiply(part, count);
    for (std::int64_t r = 0; r < count; ++r) {
      std::memcpy(c + r * t.c_stride, edge + r * panel_width, width * sizeof(float));
    }
  }
}
}  // namespace

PackedMatrix::PackedMatrix(const float* b, std::int64_t inner, std::int64_t columns,
                           std::int64_t row_stride, std::int64_t column_stride) {
  assign(b, inner, columns, row_stride, column_stride);
}

void PackedMatrix::assign(const float* b, std::int64_t inner, std::int64_t columns,
                          std::int64_t row_stride, std::int64_t column_stride) {
  inner_ = inner;
  columns_ = columns;
  const std::int64_t panels = (columns + panel_width - 1) / panel_width;
  panels_.resize(static_cast<std::size_t>(panels * panel_width * inner));
  for (std::int64_t p = 0; p < panels; ++p) {
    const std::int64_t first = p * panel_width;
    const std::int64_t width = std::min(panel_width, columns - first);
    float* out = panels_.data() + p * panel_width * inner;
    if (width < panel_width) std::fill(out, out + panel_width * inner, 0.0f);
    if (column_stride == 1) {
      for (std::int64_t k = 0; k < inner; ++k) {
        std::memcpy(out + k * panel_width, b + k * row_stride + first, width * sizeof(float));
      }
      continue;
    }
    for (std::int64_t j = 0; j < width; ++j) {
      const float* column = b + (first + j) * column_stride;
      for (std::int64_t k = 0; k < inner; ++k) out[k * panel_width + j] = column[k * row_stride];
    }
  }
}

void matrix_product(std::int64_t rows, const MatrixView& a, const PackedMatrix& b, float* c,
                    std::int64_t c_stride, bool accumulate) {
  static const PanelFunction multiply = choose_panel();
  for (std::int64_t first = 0; first < b.columns(); first += panel_width) {
    const float* panel = b.data() + first * b.inner();
    const std::int64_t width = std::min(panel_width, b.columns() - first);
    for (std::int64_t k = 0; k < std::max<std::int64_t>(b.inner(), 1); k += inner_block) {
      const Tile tile{std::min(inner_block, b.inner() - k),
                      a.data + k * a.column_stride,
                      a.row_stride,
                      a.column_stride,
                      panel + k * panel_width,
                      c + first,
                      c_stride,
                      accumulate || k > 0};
      if (width == panel_width)
        multiply(tile, rows);
      else
        multiply_edge(multiply, tile, rows, width);
    }
  }
}

}  // namespace rewardloom
