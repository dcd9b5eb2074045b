// The product of a few rows with a matrix that stays the same for many steps.
//
// The matrix is reordered once into panels, which a tile of registers reads from front to back
// while it holds its sums.  See Goto and van de Geijn, "Anatomy of high-performance matrix
// multiplication" (2008); here the rows are few, so there is no blocking over them.

#pragma once

#include <algorithm>
#include <memory>
#include <type_traits>

#include "simd.h"
#if defined(__AVX512BF16__)
#include <immintrin.h>
#endif

namespace kseq {

constexpr int WIDEST = 4;  // vectors beside each other in a panel

// result[r][v] = sum over k of a[r][k] panel[k][v]
template <class S, int ROWS, int VECTORS>
struct Tile {
  static void multiply(const S* a, int64_t stride, const S* panel, int64_t K,
                       Vec<S> (&result)[ROWS][VECTORS]) {
    Vec<S> sums[ROWS][VECTORS] = {};  // stay in registers: no pointer leads to them
    for (int64_t k = 0; k < K; k++) {
      Vec<S> b[VECTORS];
#pragma GCC unroll 8
      for (int v = 0; v < VECTORS; v++) b[v] = load(panel + (k * VECTORS + v) * Simd<S>::W);
#pragma GCC unroll 32
      for (int r = 0; r < ROWS; r++) {
        const S factor = a[r * stride + k];
#pragma GCC unroll 8
        for (int v = 0; v < VECTORS; v++) sums[r][v] += factor * b[v];
      }
    }
    std::memcpy(result, sums, sizeof sums);
  }
};

#if defined(__AVX512BF16__)
// Takes two k at once: a panel holds neighbours beside each other, and K is even.
template <int ROWS, int VECTORS>
struct Tile<Half, ROWS, VECTORS> {
  static void multiply(const Half* a, int64_t stride, const Half* panel, int64_t K,
                       Vec<float> (&result)[ROWS][VECTORS]) {
    __m512 sums[ROWS][VECTORS] = {};
    for (int64_t k = 0; k < K; k += 2) {
      __m512bh b[VECTORS];
#pragma GCC unroll 8
      for (int v = 0; v < VECTORS; v++)
        b[v] = (__m512bh)_mm512_loadu_si512(panel + (k * VECTORS + 2 * v) * Simd<float>::W);
#pragma GCC unroll 32
      for (int r = 0; r < ROWS; r++) {
        int32_t pair;
        std::memcpy(&pair, a + r * stride + k, sizeof pair);
        const __m512bh factor = (__m512bh)_mm512_set1_epi32(pair);
#pragma GCC unroll 8
        for (int v = 0; v < VECTORS; v++) sums[r][v] = _mm512_dpbf16_ps(sums[r][v], factor, b[v]);
      }
    }
    std::memcpy(result, sums, sizeof sums);
  }
};
#endif

// Calls use(row, sums) for each of `rows` rows of the product of a with one panel.
template <int VECTORS, class P, class Use>
inline void multiply_panel(const P* a, int64_t stride, int64_t rows, const P* panel, int64_t K,
                           Use use) {
  using S = typename Computed<P>::type;
  constexpr int MOST = ACCUMULATORS / VECTORS;
  int64_t row = 0;
  const auto take = [&](auto count) {
    constexpr int ROWS = decltype(count)::value;
    for (; row + ROWS <= rows; row += ROWS) {
      Vec<S> sums[ROWS][VECTORS];
      Tile<P, ROWS, VECTORS>::multiply(a + row * stride, stride, panel, K, sums);
      for (int r = 0; r < ROWS; r++) use(row + r, sums[r]);
    }
  };
  take(std::integral_constant<int, MOST>());
  take(std::integral_constant<int, (MOST > 4 ? 4 : 1)>());
  take(std::integral_constant<int, (MOST > 2 ? 2 : 1)>());
  take(std::integral_constant<int, 1>());
}

// A matrix (K, gates * H) in panels: for each block of W units its gates beside each other, up to
// `blocks` blocks in a panel.  What lies beyond H, and beyond an odd K of pairs, is zero.
template <class P>
struct Panels {
  using S = typename Computed<P>::type;
  static constexpr int W = Simd<S>::W;
  static constexpr int PAIRED = sizeof(S) / sizeof(P);  // neighbouring k beside each other

  int64_t H, depth;
  int gates, blocks;
  std::unique_ptr<char[]> memory;
  P* data;

  Panels(int64_t K, int64_t H, int gates, int blocks)
      : H(H), depth((K + PAIRED - 1) / PAIRED * PAIRED), gates(gates), blocks(blocks) {
    memory.reset(new char[depth * units() * gates * sizeof(P) + BYTES]);
    const auto address = reinterpret_cast<uintptr_t>(memory.get());
    data = reinterpret_cast<P*>((address + BYTES - 1) / BYTES * BYTES);
  }
  int64_t units() const { return (H + W - 1) / W * W; }

  // at(k, gate, unit) is the matrix's element; K of them are there.
  template <class At>
  void fill(int64_t K, int threads, At at) {
    const int64_t panels = (units() / W + blocks - 1) / blocks;
#pragma omp parallel for schedule(static) num_threads(threads) if (threads > 1)
    for (int64_t p = 0; p < panels; p++) {
      const int64_t first = p * blocks * W, last = std::min(units(), first + blocks * W);
      P* to = data + first * gates * depth;
      for (int64_t k = 0; k < depth; k += PAIRED)
        for (int64_t block = first; block < last; block += W)
          for (int g = 0; g < gates; g++)
            for (int64_t u = block; u < block + W; u++)
              for (int64_t pair = k; pair < k + PAIRED; pair++)
                *to++ = u < H && pair < K ? at(pair, g, u) : P{};
    }
  }

  // Calls use(row, unit, count, sums), sums[gate] being those of `count` units of one row.
  template <int GATES, int BLOCKS, class Use>
  void multiply(const P* a, int64_t stride, int64_t rows, Use use) const {
    int64_t block = 0;
    const auto take = [&](auto wide) {
      constexpr int N = decltype(wide)::value;
      const P* panel = data + block * W * GATES * depth;
      multiply_panel<GATES * N>(a, stride, rows, panel, depth, [&](int64_t row, const Vec<S>* sums) {
        for (int n = 0; n < N; n++) {
          const int64_t unit = (block + n) * W;
          use(row, unit, int(std::min<int64_t>(W, H - unit)), sums + n * GATES);
        }
      });
      block += N;
    };
    const int64_t all = units() / W;
    while (block + BLOCKS <= all) take(std::integral_constant<int, BLOCKS>());
    if constexpr (BLOCKS > 3)
      if (all - block == 3) take(std::integral_constant<int, 3>());
    if constexpr (BLOCKS > 2)
      if (all - block == 2) take(std::integral_constant<int, 2>());
    if constexpr (BLOCKS > 1)
      if (all - block == 1) take(std::integral_constant<int, 1>());
  }
};

}  // namespace kseq
