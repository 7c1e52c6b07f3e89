// Arithmetic on vectors of units, for as many lanes as the processor has.

#pragma once

#include <cmath>
#include <cstdint>
#include <cstring>

#if defined(__AVX512F__)
#include <immintrin.h>
#endif

#if defined(__AVX512F__)
constexpr int kVectorBytes = 64;
#else
constexpr int kVectorBytes = 32;
#endif

template <class Scalar>
struct VectorOf {
  typedef Scalar type __attribute__((vector_size(kVectorBytes), aligned(kVectorBytes)));
};
using Floats = VectorOf<float>::type;
using Doubles = VectorOf<double>::type;
using Integers = VectorOf<int32_t>::type;

template <class Scalar>
constexpr int kLanes = kVectorBytes / sizeof(Scalar);

constexpr int kLineBytes = 64;  // of the cache

// Zero is subtracted, not added to, because x - 0 is x and 0 + x is not where x is -0: the compiler then leaves it out,
// and reads a value from memory into all lanes by one instruction.
template <class Scalar>
inline typename VectorOf<Scalar>::type all_lanes(Scalar value) {
  return value - typename VectorOf<Scalar>::type{};
}

template <class Scalar>
inline auto load(const Scalar* from) {
  typename VectorOf<Scalar>::type vector;
  std::memcpy(&vector, from, sizeof vector);
  return vector;
}

template <class Scalar, class Vector>
inline void store(Scalar* to, Vector vector) {
  std::memcpy(to, &vector, sizeof vector);
}

// e^x to about one unit in the last place: x = n ln 2 + r, and a polynomial for e^r (Cephes, Moshier 1992).
inline Floats exponential(Floats x) {
  x = x > 88.0f ? all_lanes(88.0f) : x;
  x = x < -87.0f ? all_lanes(-87.0f) : x;
  const Floats shift = all_lanes(12582912.0f);  // 1.5 * 2^23: adding it rounds to the nearest whole number
  const Floats n = (x * 1.44269504f + shift) - shift;
  Floats r = x - n * 0.693359375f;
  r = r + n * 2.12194440e-4f;
  Floats p = all_lanes(1.9875691500e-4f);
  p = p * r + 1.3981999507e-3f;
  p = p * r + 8.3334519073e-3f;
  p = p * r + 4.1665795894e-2f;
  p = p * r + 1.6666665459e-1f;
  p = p * r + 5.0000001201e-1f;
  p = p * (r * r) + (r + 1.0f);
  const Integers exponent = (__builtin_convertvector(n, Integers) + 127) << 23;
  Floats power;
  std::memcpy(&power, &exponent, sizeof power);
  return p * power;
}

// 1 / x to about one unit in the last place; a division costs several times as much.
inline Floats reciprocal(Floats x) {
#if defined(__AVX512F__)
  const Floats guess = (Floats)_mm512_rcp14_ps((__m512)x);
  return guess * (2.0f - x * guess);
#else
  return 1.0f / x;
#endif
}

inline Floats sigmoid(Floats x) { return reciprocal(1.0f + exponential(-x)); }

// tanh |x| = (1 - e) / (1 + e) with e = exp(-2 |x|), and an odd polynomial near zero, where that loses digits.
inline Floats hyperbolic_tangent(Floats x) {
  const Floats size = x < 0.0f ? -x : x;
  const Floats e = exponential(size * -2.0f);
  const Floats far = (1.0f - e) * reciprocal(1.0f + e);
  const Floats square = x * x;
  Floats p = all_lanes(-5.70498872745e-3f);
  p = p * square + 2.06390887954e-2f;
  p = p * square - 5.37397155531e-2f;
  p = p * square + 1.33314422036e-1f;
  p = p * square - 3.33332819422e-1f;
  const Floats near = p * square * size + size;
  const Floats result = size < 0.625f ? near : far;
  return x < 0.0f ? -result : result;
}

// In double precision, which serves the proofs and not the speed, lane by lane.
template <class Function>
inline Doubles each(Doubles x, Function function) {
  for (int lane = 0; lane < kLanes<double>; lane++) x[lane] = function(x[lane]);
  return x;
}
inline Doubles sigmoid(Doubles x) {
  return each(x, [](double v) { return 1.0 / (1.0 + std::exp(-v)); });
}
inline Doubles hyperbolic_tangent(Doubles x) {
  return each(x, [](double v) { return std::tanh(v); });
}

template <class Vector>
inline Vector rectifier(Vector x) {
  return x < 0 ? Vector{} : x;
}
template <class Vector>
inline Vector is_positive(Vector x) {
  return x > 0 ? Vector{} + 1 : Vector{};
}
template <class Vector>
inline Vector inverse_root(Vector x) {
  for (unsigned lane = 0; lane < sizeof x / sizeof x[0]; lane++) x[lane] = 1 / std::sqrt(x[lane]);
  return x;
}

#if defined(__AVX512F__)
inline Floats inverse_root(Floats x) {
  const Floats guess = (Floats)_mm512_rsqrt14_ps((__m512)x);
  return guess * (1.5f - 0.5f * x * guess * guess);
}
#endif
