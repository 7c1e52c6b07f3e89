// Integers of 8 bits in the product with the recurrent weights: outputs of -1..1 as -127..127, and weights as they are
// given, with a scale for each column. Products and sums are exact, so they are the same on every processor: the one
// with VNNI multiplies bytes by fours, any other keeps them in 16 bits and multiplies by pairs.

#pragma once

#include "panels.h"

#if defined(__AVX512VNNI__)
struct Byte {
  uint8_t bits;  // the number + 128, as VNNI wants one of its two factors without a sign
};
constexpr int kTogether = 4, kOffset = 128;
using Weight = int8_t;
#else
struct Byte {
  int16_t bits;
};
constexpr int kTogether = 2, kOffset = 0;
using Weight = int16_t;
#endif
static_assert(sizeof(Byte) == sizeof(Weight) && sizeof(Byte) * kTogether == sizeof(int32_t));

inline void store(Byte* to, Floats vector) {
  vector *= 127.0f;
  vector = vector > 127.0f ? all_lanes(127.0f) : vector;
  vector = vector < -127.0f ? all_lanes(-127.0f) : vector;
#if defined(__AVX512F__)
  const __m512i whole = _mm512_cvtps_epi32((__m512)vector);
#if defined(__AVX512VNNI__)
  const __m128i bytes = _mm_xor_si128(_mm512_cvtsepi32_epi8(whole), _mm_set1_epi8(-128));
  _mm_storeu_si128(reinterpret_cast<__m128i*>(to), bytes);
#else
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(to), _mm512_cvtsepi32_epi16(whole));
#endif
#elif defined(__AVX2__)
  const __m256i whole = _mm256_cvtps_epi32((__m256)vector);
  const __m128i packed = _mm_packs_epi32(_mm256_castsi256_si128(whole), _mm256_extracti128_si256(whole, 1));
  _mm_storeu_si128(reinterpret_cast<__m128i*>(to), packed);
#else
#error "products of 8 bits want AVX2"
#endif
}

// sums + the products of every lane's numbers, kTogether of them side by side
inline Integers add_products(Integers sums, Integers numbers, Integers weights) {
#if defined(__AVX512VNNI__)
  return (Integers)_mm512_dpbusd_epi32((__m512i)sums, (__m512i)numbers, (__m512i)weights);
#elif defined(__AVX512F__)
  return sums + (Integers)_mm512_madd_epi16((__m512i)numbers, (__m512i)weights);
#else
  return sums + (Integers)_mm256_madd_epi16((__m256i)numbers, (__m256i)weights);
#endif
}

// As the other panels, but rows that are multiplied together lie side by side, value by value. A panel begins with what
// its columns' sums start from, and their scales; for the others that is as if it had so many rows more.
template <>
struct Panels<Byte> {
  static constexpr int kVectors = 3, kRows = kRegisters == 32 ? 8 : 4;
  static constexpr int kWidth = kVectors * kLanes<int32_t>, kDepthUnit = kTogether;
  static constexpr int kHeader = 2 * kTogether;
  int64_t depth, columns;
  std::vector<Byte> values;

  // weights [column, width], one number stands for scales[column] / 127
  Panels(int64_t width, int64_t num_columns, const int8_t* weights, const float* scales)
      : depth(kHeader + rounded_up(width, kDepthUnit)), columns(rounded_up(num_columns, kWidth)),
        values(depth * columns) {
    for (int64_t column = 0; column < num_columns; column++, weights += width) {
      const int64_t place = column % kWidth;
      Byte* panel = &values[(column - place) * depth];
      Byte* to = panel + kHeader * kWidth + place * kTogether;
      int32_t total = 0;
      for (int64_t k = 0; k < width; k += kTogether, to += kWidth * kTogether) {
        Weight some[kTogether] = {};
        for (int64_t i = 0; i < kTogether && k + i < width; i++) total += some[i] = weights[k + i];
        std::memcpy(to, some, sizeof some);
      }
      const int32_t start = -kOffset * total;
      const float scale = scales[column] / 127;
      std::memcpy(panel + place * kTogether, &start, sizeof start);
      std::memcpy(panel + (kWidth + place) * kTogether, &scale, sizeof scale);
    }
  }
};

template <int num_rows>
inline void product_of_bytes(const Byte* rows, int64_t width, const Byte* panel, int64_t depth, float* products,
                             int64_t stride) {
  using Matrix = Panels<Byte>;
  constexpr int lanes = kLanes<int32_t>, step = Matrix::kWidth * kTogether;
  const auto* header = reinterpret_cast<const int32_t*>(panel);
  Integers sums[num_rows][Matrix::kVectors];
  for (int r = 0; r < num_rows; r++)
    for (int v = 0; v < Matrix::kVectors; v++) sums[r][v] = load(header + v * lanes);
  panel += Matrix::kHeader * Matrix::kWidth;
  for (int64_t k = 0; k < depth; k += kTogether, panel += step) {
    Integers weights[Matrix::kVectors];
    for (int v = 0; v < Matrix::kVectors; v++) std::memcpy(&weights[v], panel + v * lanes * kTogether, kVectorBytes);
    for (int byte = 0; byte < Matrix::kVectors * kVectorBytes; byte += kLineBytes)
      __builtin_prefetch(reinterpret_cast<const char*>(panel + 16 * step) + byte);
#pragma GCC unroll 8
    for (int r = 0; r < num_rows; r++) {
      int32_t some;
      std::memcpy(&some, rows + r * width + k, sizeof some);
      const Integers numbers = all_lanes(some);
#pragma GCC unroll 4
      for (int v = 0; v < Matrix::kVectors; v++) sums[r][v] = add_products(sums[r][v], numbers, weights[v]);
    }
  }
  const auto* scales = reinterpret_cast<const float*>(header + Matrix::kWidth);
  for (int r = 0; r < num_rows; r++)
    for (int v = 0; v < Matrix::kVectors; v++)
      store(products + r * stride + v * lanes,
            __builtin_convertvector(sums[r][v], Floats) * load(scales + v * lanes));
}

template <int most>
inline void some_rows_of_bytes(int64_t num_rows, const Byte* rows, int64_t width, const Byte* panel, int64_t depth,
                               float* products, int64_t stride) {
  if (num_rows == most) product_of_bytes<most>(rows, width, panel, depth, products, stride);
  else if constexpr (most > 1) some_rows_of_bytes<most - 1>(num_rows, rows, width, panel, depth, products, stride);
}

inline void multiply_rows(const Byte* rows, int64_t width, int64_t num_rows, const Byte* panel, int64_t depth,
                          float* products, int64_t stride) {
  constexpr int most = Panels<Byte>::kRows;
  const int64_t num_tiles = (num_rows + most - 1) / most;
  for (int64_t tile = 0; tile < num_tiles; tile++) {
    const int64_t start = num_rows * tile / num_tiles, end = num_rows * (tile + 1) / num_tiles;
    some_rows_of_bytes<most>(end - start, rows + start * width, width, panel, depth - Panels<Byte>::kHeader,
                             products + start * stride, stride);
  }
}
