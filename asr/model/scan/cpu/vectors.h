// Arithmetic on vectors of units, for as many lanes as the processor has.

#pragma once

#include <cmath>
#include <cstdint>
#include <cstring>

#if defined(__SSE2__)
#include <immintrin.h>
#endif

#if defined(__AVX512F__)
constexpr int kVectorBytes = 64;
#elif defined(__AVX2__)
constexpr int kVectorBytes = 32;
#else  // SSE and NEON
constexpr int kVectorBytes = 16;
#endif
#if defined(__AVX512F__) || defined(__aarch64__)
constexpr int kRegisters = 32;
#else
constexpr int kRegisters = 16;
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

// 1 / x to one or two units in the last place; a division costs several times as much.
inline Floats reciprocal(Floats x) {
#if defined(__AVX512F__)
  const Floats guess = (Floats)_mm512_rcp14_ps((__m512)x);
  return guess * (2.0f - x * guess);
#elif defined(__AVX2__)
  Floats guess = (Floats)_mm256_rcp_ps((__m256)x);  // 12 bits, and others on another maker's processor: two steps
  guess = guess * (2.0f - x * guess);
  return guess + guess * (1.0f - x * guess);
#else
  return 1.0f / x;
#endif
}

inline Floats sigmoid(Floats x) { return reciprocal(1.0f + exponential(-x)); }

// tanh as a quotient of polynomials, to a few units in the last place and 1 beyond 9 (as in Eigen, ptanh).
inline Floats hyperbolic_tangent(Floats x) {
  x = x > 9.0f ? all_lanes(9.0f) : x;  // not a number stays so
  x = x < -9.0f ? all_lanes(-9.0f) : x;
  const Floats square = x * x;
  Floats p = all_lanes(-2.76076847742355e-16f);
  p = p * square + 2.00018790482477e-13f;
  p = p * square - 8.60467152213735e-11f;
  p = p * square + 5.12229709037114e-08f;
  p = p * square + 1.48572235717979e-05f;
  p = p * square + 6.37261928875436e-04f;
  p = p * square + 4.89352455891786e-03f;
  Floats q = all_lanes(1.19825839466702e-06f);
  q = q * square + 1.18534705686654e-04f;
  q = q * square + 2.26843463243900e-03f;
  q = q * square + 4.89352518554385e-03f;
  return x * p * reciprocal(q);
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
