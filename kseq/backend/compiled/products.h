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

// Calls use(row, sums) for each of `rows` rows of the product of a with one panel, in tiles of
// nearly equal heights: a low one would wait for the panel to come from the cache.
template <int VECTORS, class P, class Use>
inline void multiply_panel(const P* a, int64_t stride, int64_t rows, const P* panel, int64_t K,
                           Use use) {
  using S = typename Computed<P>::type;
  constexpr int MOST = std::min(8, ACCUMULATORS / VECTORS);
  int64_t row = 0;
  const auto take = [&](auto height) {
    constexpr int ROWS = decltype(height)::value;
    if constexpr (ROWS <= MOST) {
      Vec<S> sums[ROWS][VECTORS];
      Tile<P, ROWS, VECTORS>::multiply(a + row * stride, stride, panel, K, sums);
      for (int r = 0; r < ROWS; r++) use(row + r, sums[r]);
      row += ROWS;
    }
  };
  while (row < rows) {
    const int64_t tiles = (rows - row + MOST - 1) / MOST;
    switch ((rows - row + tiles - 1) / tiles) {
      case 8: take(std::integral_constant<int, 8>()); break;
      case 7: take(std::integral_constant<int, 7>()); break;
      case 6: take(std::integral_constant<int, 6>()); break;
      case 5: take(std::integral_constant<int, 5>()); break;
      case 4: take(std::integral_constant<int, 4>()); break;
      case 3: take(std::integral_constant<int, 3>()); break;
      case 2: take(std::integral_constant<int, 2>()); break;
      default: take(std::integral_constant<int, 1>());
    }
  }
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

  // Takes R[k * by_k + gate * by_gate + unit * by_unit], of which K are there.  DEEP steps of k at
  // a time: where by_k is 1, a cache line is read whole while it is at hand.
  void fill(const P* R, int64_t K, int64_t by_k, int64_t by_gate, int64_t by_unit, int threads) {
    constexpr int64_t DEEP = 16;
    const int64_t all = units() / W, panels = (all + blocks - 1) / blocks;
    if (units() > H || depth > K) std::memset(data, 0, depth * units() * gates * sizeof(P));
#pragma omp parallel for schedule(static) num_threads(threads) if (threads > 1)
    for (int64_t p = 0; p < panels; p++) {
      const int64_t first = p * blocks, last = std::min(all, first + blocks);
      const int64_t line = (last - first) * gates * W * PAIRED;
      P* panel = data + first * W * gates * depth;
      for (int64_t top = 0; top < K; top += DEEP)
        for (int64_t block = first; block < last; block++)
          for (int g = 0; g < gates; g++) {
            P* to = panel + ((block - first) * gates + g) * W * PAIRED;
            const P* from = R + g * by_gate + block * W * by_unit;
            const int64_t bottom = std::min(K, top + DEEP), wide = std::min<int64_t>(W, H - block * W);
            if (by_unit == 1)
              for (int64_t k = top; k < bottom; k++)
                for (int64_t i = 0; i < wide; i++)
                  to[k / PAIRED * line + i * PAIRED + k % PAIRED] = from[k * by_k + i];
            else
              for (int64_t i = 0; i < wide; i++)
                for (int64_t k = top; k < bottom; k++)
                  to[k / PAIRED * line + i * PAIRED + k % PAIRED] = from[k * by_k + i * by_unit];
          }
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
