#include "nodes/text/matrix_product.h"

#include <immintrin.h>

#include <algorithm>
#include <bit>
#include <cstring>

#include "nodes/text/vector_math.h"

namespace rewardloom {

namespace {

constexpr std::int64_t panel_width = 32;
constexpr std::int64_t inner_block = 256;
constexpr std::int64_t fetched_elements = 16;  // elements that are fetched together
/// Factors beyond this size come from memory, so that fetching ahead pays.
constexpr std::int64_t cached_bytes = 1024 * 1024;
/// What a thread is given at least, so that its wake-up pays.
constexpr std::int64_t shared_bytes = 256 * 1024;

typedef float Vector4 __attribute__((vector_size(16)));
typedef float Vector8 __attribute__((vector_size(32)));
typedef float Vector16 __attribute__((vector_size(64)));
typedef std::uint32_t Words4 __attribute__((vector_size(16)));
typedef std::uint32_t Words8 __attribute__((vector_size(32)));
typedef std::uint32_t Words16 __attribute__((vector_size(64)));

/// Rows of A against panels of B, `panel_stride` elements apart. An element of a bfloat16 factor
/// (`Element` uint32) is a pair along the inner index.
template <typename Element>
struct Tile {
  std::int64_t inner;
  const Element* a;
  std::int64_t row_stride;
  std::int64_t column_stride;
  const Element* panel;
  std::int64_t panel_stride;
  float* c;
  std::int64_t c_stride;
  bool accumulate;
  const Element* ahead;  ///< what is needed next and is to be fetched meanwhile; may be null
};

/// The elements of C that a tile holds in registers while the inner index runs.
template <typename Vector, int Rows, int Vectors>
struct Sums {
  typedef Vector Unaligned __attribute__((aligned(4), may_alias));
  static constexpr int lanes = sizeof(Vector) / sizeof(float);
  Vector sum[Rows][Vectors];

  [[gnu::always_inline]] inline void begin(const float* c, std::int64_t stride, bool accumulate) {
#pragma GCC unroll 16
    for (int r = 0; r < Rows; ++r) {
#pragma GCC unroll 16
      for (int v = 0; v < Vectors; ++v) {
        sum[r][v] =
            accumulate ? *reinterpret_cast<const Unaligned*>(c + r * stride + v * lanes) : Vector{};
      }
    }
  }
  [[gnu::always_inline]] inline void end(float* c, std::int64_t stride) const {
#pragma GCC unroll 16
    for (int r = 0; r < Rows; ++r) {
#pragma GCC unroll 16
      for (int v = 0; v < Vectors; ++v) {
        *reinterpret_cast<Unaligned*>(c + r * stride + v * lanes) = sum[r][v];
      }
    }
  }
};

/// `Rows` x (`Vectors` vectors) elements of C, whose columns start at `column` of the first panel;
/// with more than one panel `Vectors` spans all of them.
template <typename Vector, int Rows, int Vectors, int Panels, bool Ahead>
[[gnu::always_inline]] inline void multiply_tile(const Tile<float>& t, std::int64_t column) {
  // Template arguments lose their attributes, so that the unaligned form is named here.
  typedef Vector Unaligned __attribute__((aligned(4), may_alias));
  constexpr int lanes = sizeof(Vector) / sizeof(float), within = Vectors / Panels;
  Sums<Vector, Rows, Vectors> s;
  s.begin(t.c + column, t.c_stride, t.accumulate);
  const float* b = t.panel + column;
  const float* a = t.a;
  for (std::int64_t k = 0; k < t.inner; ++k, b += panel_width, a += t.column_stride) {
    if constexpr (Ahead) __builtin_prefetch(t.ahead + k * fetched_elements);
    Vector factor[Vectors];
#pragma GCC unroll 16
    for (int v = 0; v < Vectors; ++v) {
      factor[v] =
          *reinterpret_cast<const Unaligned*>(b + v / within * t.panel_stride + v % within * lanes);
    }
#pragma GCC unroll 16
    for (int r = 0; r < Rows; ++r) {
      const float left = a[r * t.row_stride];
#pragma GCC unroll 16
      for (int v = 0; v < Vectors; ++v) s.sum[r][v] += left * factor[v];
    }
  }
  s.end(t.c + column, t.c_stride);
}

template <typename Vector>
struct WordsOf;
template <>
struct WordsOf<Vector4> {
  using Type = Words4;
};
template <>
struct WordsOf<Vector8> {
  using Type = Words8;
};
template <>
struct WordsOf<Vector16> {
  using Type = Words16;
};

/// The same for pairs of bfloat16, widened: the even row's product first, then the odd one's.
template <typename Vector, int Rows, int Vectors, int Panels, bool Ahead>
[[gnu::always_inline]] inline void multiply_tile(const Tile<std::uint32_t>& t,
                                                 std::int64_t column) {
  using Words = typename WordsOf<Vector>::Type;
  typedef Words Unaligned __attribute__((aligned(4), may_alias));
  constexpr int lanes = sizeof(Vector) / sizeof(float), within = Vectors / Panels;
  constexpr std::uint32_t odd = 0xffff0000u;
  Sums<Vector, Rows, Vectors> s;
  s.begin(t.c + column, t.c_stride, t.accumulate);
  const std::uint32_t* b = t.panel + column;
  const std::uint32_t* a = t.a;
  for (std::int64_t k = 0; k < t.inner; ++k, b += panel_width, a += t.column_stride) {
    if constexpr (Ahead) __builtin_prefetch(t.ahead + k * fetched_elements);
#pragma GCC unroll 16
    for (int v = 0; v < Vectors; ++v) {
      const Words pair =
          *reinterpret_cast<const Unaligned*>(b + v / within * t.panel_stride + v % within * lanes);
      const Vector low = reinterpret_cast<Vector>(pair << 16);
      const Vector high = reinterpret_cast<Vector>(pair & odd);
#pragma GCC unroll 16
      for (int r = 0; r < Rows; ++r) {
        const std::uint32_t left = a[r * t.row_stride];
        s.sum[r][v] += std::bit_cast<float>(left << 16) * low;
        s.sum[r][v] += std::bit_cast<float>(left & odd) * high;
      }
    }
  }
  s.end(t.c + column, t.c_stride);
}

/// `Panels` panels side by side, or the vectors of one in steps of `Vectors`.
template <typename Vector, int Rows, int Vectors, int Panels, bool Ahead, typename Element>
[[gnu::always_inline]] inline void multiply_rows(const Tile<Element>& t) {
  constexpr int lanes = sizeof(Vector) / sizeof(float);
  if constexpr (Panels > 1) {
    multiply_tile<Vector, Rows, Panels* static_cast<int>(panel_width) / lanes, Panels, false>(t, 0);
  } else {
    for (std::int64_t column = 0; column < panel_width; column += Vectors * lanes) {
      multiply_tile<Vector, Rows, Vectors, 1, Ahead>(t, column);
    }
  }
}

template <typename Vector, int Vectors, bool Ahead, typename Element>
[[gnu::always_inline]] inline void multiply_few(const Tile<Element>& t, std::int64_t rows) {
  switch (rows) {
    case 1: return multiply_rows<Vector, 1, Vectors, 1, Ahead>(t);
    case 2: return multiply_rows<Vector, 2, Vectors, 1, Ahead>(t);
    case 3: return multiply_rows<Vector, 3, Vectors, 1, Ahead>(t);
    case 4: return multiply_rows<Vector, 4, Vectors, 1, Ahead>(t);
    case 5: return multiply_rows<Vector, 5, Vectors, 1, Ahead>(t);
    case 6: return multiply_rows<Vector, 6, Vectors, 1, Ahead>(t);
    case 7: return multiply_rows<Vector, 7, Vectors, 1, Ahead>(t);
    case 8: return multiply_rows<Vector, 8, Vectors, 1, Ahead>(t);
    default: return;
  }
}

/// How many panels few rows take at once: a sum waits for its last addition, so that several must
/// be under way.
constexpr std::int64_t panels_at_once(std::int64_t rows) {
  return rows == 1 ? 4 : rows < 4 ? 2 : 1;
}

/// The first tile fetches one half of the next block, the second the other.
template <typename Element>
[[gnu::always_inline]] inline void fetch_further(Tile<Element>& t) {
  const bool first = t.ahead == t.panel + t.inner * panel_width;
  t.ahead = first ? t.ahead + t.inner * fetched_elements : nullptr;
}

/// All rows against one panel, or few against several. `Rows` is what the register file of the
/// instruction set holds.
template <typename Vector, int Rows, int Vectors, typename Element>
[[gnu::always_inline]] inline void multiply_panels(Tile<Element> t, std::int64_t rows,
                                                   std::int64_t panels) {
  if (panels == 4) return multiply_rows<Vector, 1, Vectors, 4, false>(t);
  if (panels == 2) {
    if (rows == 2) return multiply_rows<Vector, 2, Vectors, 2, false>(t);
    return multiply_rows<Vector, 3, Vectors, 2, false>(t);
  }
  // Tiles of almost equal height.
  for (std::int64_t tiles = (rows + Rows - 1) / Rows; tiles > 0; --tiles) {
    const std::int64_t height = (rows + tiles - 1) / tiles;
    if (t.ahead != nullptr) {
      multiply_few<Vector, Vectors, true>(t, height);
    } else {
      multiply_few<Vector, Vectors, false>(t, height);
    }
    fetch_further(t);
    t.a += height * t.row_stride;
    t.c += height * t.c_stride;
    rows -= height;
  }
}

template <typename Element>
using PanelFunction = void (*)(const Tile<Element>&, std::int64_t rows, std::int64_t panels);

[[gnu::target("avx512f,avx512vl,avx512dq,avx512bw,avx2,fma")]] void panels_avx512(
    const Tile<float>& t, std::int64_t rows, std::int64_t panels) {
  multiply_panels<Vector16, 8, 2>(t, rows, panels);
}
[[gnu::target("avx512f,avx512vl,avx512dq,avx512bw,avx2,fma")]] void pairs_avx512(
    const Tile<std::uint32_t>& t, std::int64_t rows, std::int64_t panels) {
  multiply_panels<Vector16, 8, 2>(t, rows, panels);
}

[[gnu::target("avx2,fma")]] void panels_avx2(const Tile<float>& t, std::int64_t rows,
                                             std::int64_t panels) {
  multiply_panels<Vector8, 6, 2>(t, rows, panels);
}
[[gnu::target("avx2,fma")]] void pairs_avx2(const Tile<std::uint32_t>& t, std::int64_t rows,
                                            std::int64_t panels) {
  multiply_panels<Vector8, 6, 2>(t, rows, panels);
}

void panels_portable(const Tile<float>& t, std::int64_t rows, std::int64_t panels) {
  multiply_panels<Vector4, 4, 2>(t, rows, panels);
}
void pairs_portable(const Tile<std::uint32_t>& t, std::int64_t rows, std::int64_t panels) {
  multiply_panels<Vector4, 4, 2>(t, rows, panels);
}

#pragma GCC push_options
#pragma GCC target("avx512f,avx512vl,avx512dq,avx512bw,avx512bf16,avx2,fma")

template <int Rows, int Panels, bool Ahead>
[[gnu::always_inline]] inline void dot_tile(const Tile<std::uint32_t>& t) {
  constexpr int vectors = 2 * Panels;
  __m512 sum[Rows][vectors];
#pragma GCC unroll 16
  for (int r = 0; r < Rows; ++r) {
#pragma GCC unroll 16
    for (int v = 0; v < vectors; ++v) {
      sum[r][v] =
          t.accumulate ? _mm512_loadu_ps(t.c + r * t.c_stride + v * 16) : _mm512_setzero_ps();
    }
  }
  const std::uint32_t* b = t.panel;
  const std::uint32_t* a = t.a;
  for (std::int64_t k = 0; k < t.inner; ++k, b += panel_width, a += t.column_stride) {
    if constexpr (Ahead) __builtin_prefetch(t.ahead + k * fetched_elements);
    __m512bh factor[vectors];
#pragma GCC unroll 16
    for (int v = 0; v < vectors; ++v) {
      factor[v] = (__m512bh)_mm512_loadu_si512(b + v / 2 * t.panel_stride + v % 2 * 16);
    }
#pragma GCC unroll 16
    for (int r = 0; r < Rows; ++r) {
      const __m512bh left = (__m512bh)_mm512_set1_epi32(static_cast<int>(a[r * t.row_stride]));
#pragma GCC unroll 16
      for (int v = 0; v < vectors; ++v) sum[r][v] = _mm512_dpbf16_ps(sum[r][v], left, factor[v]);
    }
  }
#pragma GCC unroll 16
  for (int r = 0; r < Rows; ++r) {
#pragma GCC unroll 16
    for (int v = 0; v < vectors; ++v) {
      _mm512_storeu_ps(t.c + r * t.c_stride + v * 16, sum[r][v]);
    }
  }
}

template <bool Ahead>
void dot_rows(const Tile<std::uint32_t>& t, std::int64_t rows) {
  switch (rows) {
    case 1: return dot_tile<1, 1, Ahead>(t);
    case 2: return dot_tile<2, 1, Ahead>(t);
    case 3: return dot_tile<3, 1, Ahead>(t);
    case 4: return dot_tile<4, 1, Ahead>(t);
    case 5: return dot_tile<5, 1, Ahead>(t);
    case 6: return dot_tile<6, 1, Ahead>(t);
    case 7: return dot_tile<7, 1, Ahead>(t);
    case 8: return dot_tile<8, 1, Ahead>(t);
    default: return;
  }
}

void pairs_dot(const Tile<std::uint32_t>& tile, std::int64_t rows, std::int64_t panels) {
  Tile<std::uint32_t> t = tile;
  if (panels == 4) return dot_tile<1, 4, false>(t);
  if (panels == 2) return rows == 2 ? dot_tile<2, 2, false>(t) : dot_tile<3, 2, false>(t);
  for (std::int64_t tiles = (rows + 7) / 8; tiles > 0; --tiles) {
    const std::int64_t height = (rows + tiles - 1) / tiles;
    if (t.ahead != nullptr) {
      dot_rows<true>(t, height);
    } else {
      dot_rows<false>(t, height);
    }
    fetch_further(t);
    t.a += height * t.row_stride;
    t.c += height * t.c_stride;
    rows -= height;
  }
}
#pragma GCC pop_options

bool has_avx512() {
  return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
         __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl");
}
bool has_avx2() { return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"); }

PanelFunction<float> choose(const float*) {
  return has_avx512() ? panels_avx512 : has_avx2() ? panels_avx2 : panels_portable;
}
PanelFunction<std::uint32_t> choose(const std::uint32_t*) {
  if (has_avx512() && __builtin_cpu_supports("avx512bf16")) return pairs_dot;
  return has_avx512() ? pairs_avx512 : has_avx2() ? pairs_avx2 : pairs_portable;
}

/// The last columns of C, which fill no whole panel, are computed beside it and copied.
template <typename Element>
void multiply_edge(PanelFunction<Element> multiply, const Tile<Element>& t, std::int64_t rows,
                   std::int64_t width) {
  constexpr std::int64_t block = 8;
  float edge[block * panel_width];
  for (std::int64_t row = 0; row < rows; row += block) {
    const std::int64_t count = std::min(block, rows - row);
    Tile<Element> part = t;
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
    multiply(part, count, 1);
    for (std::int64_t r = 0; r < count; ++r) {
      std::memcpy(c + r * t.c_stride, edge + r * panel_width, width * sizeof(float));
    }
  }
}

/// A product as the kernels see it, `inner` in elements.
template <typename Element>
struct Product {
  std::int64_t rows, inner, columns;
  const Element* a;
  std::int64_t row_stride, column_stride;
  const Element* panels;
  float* c;
  std::int64_t c_stride;
  bool accumulate;

  void run(std::int64_t first, std::int64_t last) const {
    static const PanelFunction<Element> multiply = choose(static_cast<const Element*>(nullptr));
    const std::int64_t at_once = panels_at_once(rows), whole = columns / panel_width;
    const bool fetches =
        rows > 8 && inner * columns * static_cast<std::int64_t>(sizeof(Element)) > cached_bytes;
    for (std::int64_t p = first; p < last;) {
      const std::int64_t count = p + at_once <= std::min(last, whole) ? at_once : 1;
      for (std::int64_t k = 0; k < std::max<std::int64_t>(inner, 1); k += inner_block) {
        const std::int64_t depth = std::min(inner_block, inner - k);
        const Tile<Element> tile{
            depth,
            a + k * column_stride,
            row_stride,
            column_stride,
            panels + p * panel_width * inner + k * panel_width,
            panel_width * inner,
            c + p * panel_width,
            c_stride,
            accumulate || k > 0,
            fetches ? panels + (p * inner + k + depth) * panel_width : nullptr};
        if (p < whole) {
          multiply(tile, rows, count);
        } else {
          multiply_edge(multiply, tile, rows, columns - whole * panel_width);
        }
      }
      p += count;
    }
  }

  void run(const ParallelCalls* parallel) const {
    const std::int64_t panels_there = (columns + panel_width - 1) / panel_width;
    const std::int64_t bytes = panel_width * inner * static_cast<std::int64_t>(sizeof(Element));
    const std::int64_t each =
        std::max<std::int64_t>(1, shared_bytes / std::max<std::int64_t>(1, bytes));
    // Whole groups of panels: what is computed together does not change an element.
    const std::int64_t size = (each + 3) / 4 * 4;
    const std::int64_t parts = (panels_there + size - 1) / size;
    if (parallel == nullptr || parts < 2) return run(0, panels_there);
    (*parallel)(static_cast<std::size_t>(parts), [&](std::size_t part) {
      const std::int64_t start = static_cast<std::int64_t>(part) * size;
      run(start, std::min(panels_there, start + size));
    });
  }
};

/// Rounded to the nearest, to even between two.
[[gnu::always_inline]] inline std::uint32_t bfloat16_bits(float x) {
  const auto bits = std::bit_cast<std::uint32_t>(x);
  return (bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16;
}

/// Pairs of x and y, `step` apart; y may be null: zeros.
[[gnu::always_inline]] inline void pair_row(const float* x, const float* y, std::int64_t step,
                                            std::int64_t count, std::uint32_t* out) {
  if (y == nullptr) {
    for (std::int64_t i = 0; i < count; ++i) out[i] = bfloat16_bits(x[i * step]);
    return;
  }
  for (std::int64_t i = 0; i < count; ++i) {
    out[i] = bfloat16_bits(x[i * step]) | bfloat16_bits(y[i * step]) << 16;
  }
}

/// Pairs [rows, (inner + 1) / 2] of a view, or transposed where its rows lie together.
REWARDLOOM_VECTORISED
void pair_up(std::int64_t rows, std::int64_t inner, const MatrixView& a, bool transposed,
             std::uint32_t* out) {
  const std::int64_t whole = inner / 2, pairs = (inner + 1) / 2;
  if (transposed) {
    for (std::int64_t k = 0; k < pairs; ++k) {
      const float* const x = a.data + 2 * k * a.column_stride;
      const float* const y = k < whole ? x + a.column_stride : nullptr;
      if (a.row_stride == 1) {
        pair_row(x, y, 1, rows, out + k * rows);
      } else {
        pair_row(x, y, a.row_stride, rows, out + k * rows);
      }
    }
    return;
  }
  for (std::int64_t r = 0; r < rows; ++r) {
    const float* const x = a.data + r * a.row_stride;
    pair_row(x, x + 1, 2, whole, out + r * pairs);
    if (whole < pairs) out[r * pairs + whole] = bfloat16_bits(x[inner - 1]);
  }
}

/// Pairs along the rows of B [inner, width], a panel's width apart.
REWARDLOOM_VECTORISED
void pair_panel(const MatrixView& b, std::int64_t inner, std::int64_t width, std::uint32_t* out) {
  const std::int64_t whole = inner / 2, pairs = (inner + 1) / 2;
  if (b.column_stride == 1) {
    for (std::int64_t k = 0; k < pairs; ++k) {
      const float* const x = b.data + 2 * k * b.row_stride;
      pair_row(x, k < whole ? x + b.row_stride : nullptr, 1, width, out + k * panel_width);
    }
    return;
  }
  for (std::int64_t j = 0; j < width; ++j) {
    const float* const x = b.data + j * b.column_stride;
    for (std::int64_t k = 0; k < whole; ++k) {
      out[k * panel_width + j] = bfloat16_bits(x[2 * k * b.row_stride]) |
                                 bfloat16_bits(x[(2 * k + 1) * b.row_stride]) << 16;
    }
    if (whole < pairs) out[whole * panel_width + j] = bfloat16_bits(x[2 * whole * b.row_stride]);
  }
}

}  // namespace

PackedMatrix::PackedMatrix(const float* b, std::int64_t inner, std::int64_t columns,
                           std::int64_t row_stride, std::int64_t column_stride, FactorType type) {
  assign(b, inner, columns, row_stride, column_stride, type);
}

void PackedMatrix::pack_panel(const float* b, std::int64_t row_stride, std::int64_t column_stride,
                              std::int64_t width, float* out) const {
  if (width < panel_width) std::fill(out, out + panel_width * inner_, 0.0f);
  if (column_stride == 1) {
    for (std::int64_t k = 0; k < inner_; ++k) {
      std::memcpy(out + k * panel_width, b + k * row_stride, width * sizeof(float));
    }
    return;
  }
  for (std::int64_t j = 0; j < width; ++j) {
    const float* column = b + j * column_stride;
    for (std::int64_t k = 0; k < inner_; ++k) out[k * panel_width + j] = column[k * row_stride];
  }
}

void PackedMatrix::pack_pairs(const float* b, std::int64_t row_stride, std::int64_t column_stride,
                              std::int64_t width, std::uint32_t* out) const {
  const std::int64_t pairs = (inner_ + 1) / 2;
  if (width < panel_width) std::fill(out, out + panel_width * pairs, 0u);
  pair_panel({b, row_stride, column_stride}, inner_, width, out);
}

void PackedMatrix::assign(const float* b, std::int64_t inner, std::int64_t columns,
                          std::int64_t row_stride, std::int64_t column_stride, FactorType type) {
  type_ = type;
  inner_ = inner;
  columns_ = columns;
  const std::int64_t panels = (columns + panel_width - 1) / panel_width;
  const bool narrow = type == FactorType::bfloat16;
  const std::int64_t size = panel_width * (narrow ? (inner + 1) / 2 : inner);
  if (narrow) {
    pairs_.resize(static_cast<std::size_t>(panels * size));
  } else {
    panels_.resize(static_cast<std::size_t>(panels * size));
  }
  for (std::int64_t p = 0; p < panels; ++p) {
    const std::int64_t first = p * panel_width;
    const std::int64_t width = std::min(panel_width, columns - first);
    const float* const from = b + first * column_stride;
    if (narrow) {
      pack_pairs(from, row_stride, column_stride, width, pairs_.data() + p * size);
    } else {
      pack_panel(from, row_stride, column_stride, width, panels_.data() + p * size);
    }
  }
}

void matrix_product(std::int64_t rows, const MatrixView& a, const PackedMatrix& b, float* c,
                    std::int64_t c_stride, bool accumulate, const ParallelCalls* parallel) {
  if (rows == 0) return;
  if (b.type() == FactorType::float32) {
    const Product<float> product{rows,         b.inner(),       b.columns(), a.data,
                                 a.row_stride, a.column_stride, b.data(),    c,
                                 c_stride,     accumulate};
    return product.run(parallel);
  }
  thread_local std::vector<std::uint32_t> pairs;
  const bool transposed = a.column_stride != 1;
  const std::int64_t inner = (b.inner() + 1) / 2;
  pairs.resize(std::max(pairs.size(), static_cast<std::size_t>(rows * inner)));
  pair_up(rows, b.inner(), a, transposed, pairs.data());
  const Product<std::uint32_t> product{
      rows,      inner, b.columns(), pairs.data(), transposed ? 1 : inner, transposed ? rows : 1,
      b.pairs(), c,     c_stride,    accumulate};
  product.run(parallel);
}

}  // namespace rewardloom
