// Vectors as wide as the processor's registers, and the functions recurrences need of them.
//
// S is what is computed in (float or double), P what is kept in memory and multiplied: S itself,
// or Half (bfloat16) with S = float.

#pragma once

#include <cmath>
#include <cstdint>
#include <cstring>
#if defined(__AVX512F__)
#include <immintrin.h>
#endif

namespace kseq {

#if defined(__AVX512F__)
constexpr int BYTES = 64;
constexpr int ACCUMULATORS = 24;  // of 32 registers; the rest hold what is multiplied
#elif defined(__AVX__)
constexpr int BYTES = 32;
constexpr int ACCUMULATORS = 12;  // of 16 registers
#else
constexpr int BYTES = 16;
constexpr int ACCUMULATORS = 12;
#endif

template <class S>
struct Simd {
  typedef S Vector __attribute__((vector_size(BYTES)));
  typedef S Unaligned __attribute__((vector_size(BYTES), aligned(sizeof(S)), may_alias));
  static constexpr int W = BYTES / sizeof(S);
};
struct Half {
  uint16_t bits;
};
template <>
struct Simd<Half> : Simd<float> {};
template <class P>
using Vec = typename Simd<P>::Vector;

template <class P>
struct Computed {
  typedef P type;
};
template <>
struct Computed<Half> {
  typedef float type;
};

typedef uint32_t Words __attribute__((vector_size(BYTES)));
typedef uint16_t HalfWords __attribute__((vector_size(BYTES / 2)));

template <class S>
inline Vec<S> load(const S* from, int count = Simd<S>::W) {
  if (count >= Simd<S>::W) return *reinterpret_cast<const typename Simd<S>::Unaligned*>(from);
  Vec<S> v = {};
  for (int i = 0; i < count; i++) v[i] = from[i];
  return v;
}
inline Vec<float> load(const Half* from, int count = Simd<float>::W) {
  HalfWords half = {};
  std::memcpy(&half, from, count >= Simd<float>::W ? sizeof half : count * sizeof(Half));
  const Words words = __builtin_convertvector(half, Words) << 16;
  Vec<float> v;
  std::memcpy(&v, &words, sizeof v);
  return v;
}

template <class S>
inline void store(S* to, Vec<S> v, int count = Simd<S>::W) {
  if (count >= Simd<S>::W)
    *reinterpret_cast<typename Simd<S>::Unaligned*>(to) = v;
  else
    for (int i = 0; i < count; i++) to[i] = v[i];
}
// Rounds to the nearest, ties to even; what is not a number stays so.
inline void store(Half* to, Vec<float> v, int count = Simd<float>::W) {
  Words words;
  std::memcpy(&words, &v, sizeof v);
  const Words rounded = (words + 0x7fff + ((words >> 16) & 1)) >> 16;
  const HalfWords half = __builtin_convertvector(v == v ? rounded : (words >> 16) | 1, HalfWords);
  std::memcpy(to, &half, count >= Simd<float>::W ? sizeof half : count * sizeof(Half));
}

// y = n ln 2 + r: 2^n, and e^r - 1 to a relative 1e-7.
struct Split {
  Vec<float> power, rest;
};
inline Split split(Vec<float> y) {
  typedef int32_t Ints __attribute__((vector_size(BYTES)));
  const Vec<float> zero = {};
  y = y > 80.0f ? zero + 80.0f : y;  // the inverse of e^80 is not yet denormal
  y = y < -87.0f ? zero - 87.0f : y;
  const Vec<float> shifted = y * 1.44269504f + 12582912.0f;  // 1.5 * 2^23 rounds to whole numbers
  const Vec<float> n = shifted - 12582912.0f;
  const Vec<float> r = (y - n * 0.693359375f) + n * 2.12194440e-4f;
  Vec<float> p = r * 1.98412698e-4f + 1.38888889e-3f;
  p = p * r + 8.33333333e-3f;
  p = p * r + 4.16666667e-2f;
  p = p * r + 1.66666667e-1f;
  p = p * r + 0.5f;
  p = p * r * r + r;
  const Ints exponent = (__builtin_convertvector(n, Ints) + 127) << 23;
  Vec<float> power;
  std::memcpy(&power, &exponent, sizeof power);
  return {power, p};
}
inline Vec<float> exponential(Vec<float> y) {
  const Split s = split(y);
  return s.power * s.rest + s.power;
}
inline Vec<float> expm1(Vec<float> y) {
  const Split s = split(y);
  return s.power * s.rest + (s.power - 1.0f);
}
inline Vec<double> expm1(Vec<double> y) {
  for (int i = 0; i < Simd<double>::W; i++) y[i] = std::expm1(y[i] > 700 ? 700 : y[i]);
  return y;
}

#if defined(__AVX512F__)
// One step of Newton's on the processor's estimate, which is good to 2^-14; a division takes
// three times as long.
inline Vec<float> inverse(Vec<float> x) {
  const Vec<float> y = (Vec<float>)_mm512_rcp14_ps((__m512)x);
  return y * (2 - x * y);
}
#else
inline Vec<float> inverse(Vec<float> x) { return 1 / x; }
#endif
inline Vec<double> inverse(Vec<double> x) { return 1 / x; }

template <class V>
inline V tanh(V x) {
  const V distance = x < 0 ? -x : x;
  const V e = expm1(distance + distance);
  const V y = e * inverse(e + 2);
  return x < 0 ? -y : y;
}
template <class V>
inline V sigmoid(V x) {
  return inverse(2 + expm1(-x));
}

}  // namespace kseq
