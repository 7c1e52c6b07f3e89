// Numbers of 16 bits (bfloat16): kept and multiplied in half the space, summed in float. Only for processors that
// multiply them, by tiles (AMX) or by vectors (AVX512-BF16).

#pragma once

#include "panels.h"

#if defined(__AMX_BF16__)
// The tiles of one thread while it multiplies: eight of 16 rows of 64 bytes.
struct Tiles {
  Tiles() {
    alignas(64) struct {
      uint8_t palette = 1, start = 0, zeros[14] = {};
      uint16_t bytes[16] = {64, 64, 64, 64, 64, 64, 64, 64};
      uint8_t rows[16] = {16, 16, 16, 16, 16, 16, 16, 16};
    } shape;
    _tile_loadconfig(&shape);
  }
  ~Tiles() { _tile_release(); }
};
#else
struct Tiles {};
#endif

struct Half {
  uint16_t bits;
};

inline Floats load(const Half* from) {
  const __m256i halves = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(from));
  return (Floats)_mm512_slli_epi32(_mm512_cvtepu16_epi32(halves), 16);
}

inline void store(Half* to, Floats vector) {
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(to), (__m256i)_mm512_cvtneps_pbh((__m512)vector));
}

inline Half half_of(float value) {
  const __m128i rounded = (__m128i)_mm_cvtneps_pbh(_mm_set_ss(value));
  return {static_cast<uint16_t>(_mm_extract_epi16(rounded, 0))};
}

// As the other panels, but two rows lie side by side, value by value, as the processor takes them.
template <>
struct Panels<Half> {
  static constexpr int kWidth = 64, kDepthUnit = 32;
  int64_t depth, columns;
  std::vector<Half> values;

  template <class Element>
  Panels(int64_t taps, int64_t width, int64_t num_columns, Element element)
      : depth(taps * rounded_up(width, kDepthUnit)), columns(rounded_up(num_columns, kWidth)), values(depth * columns) {
    for (int64_t first = 0; first < num_columns; first += kWidth) {
      const int64_t count = num_columns - first < kWidth ? num_columns - first : kWidth;
      for (int64_t tap = 0; tap < taps; tap++)
        for (int64_t k = 0; k < width; k++) {
          const int64_t row = tap * rounded_up(width, kDepthUnit) + k;
          Half* to = &values[first * depth + row / 2 * 2 * kWidth + row % 2];
          for (int64_t j = 0; j < count; j++) to[2 * j] = half_of(element(tap, k, first + j));
        }
    }
  }
};

#if defined(__AMX_BF16__)
// 16 rows with a panel: four tiles of sums.
inline void product_of_16(const Half* rows, int64_t width, const Half* panel, int64_t depth, float* to,
                          int64_t stride) {
  _tile_zero(0);
  _tile_zero(1);
  _tile_zero(2);
  _tile_zero(3);
  for (int64_t k = 0; k < depth; k += 32, panel += 32 * Panels<Half>::kWidth) {
    _tile_loadd(4, rows + k, width * 2);
    _tile_loadd(5, panel, 256);
    _tile_dpbf16ps(0, 4, 5);
    _tile_loadd(6, panel + 32, 256);
    _tile_dpbf16ps(1, 4, 6);
    _tile_loadd(5, panel + 64, 256);
    _tile_dpbf16ps(2, 4, 5);
    _tile_loadd(6, panel + 96, 256);
    _tile_dpbf16ps(3, 4, 6);
  }
  _tile_stored(0, to, stride * 4);
  _tile_stored(1, to + 16, stride * 4);
  _tile_stored(2, to + 32, stride * 4);
  _tile_stored(3, to + 48, stride * 4);
}

// 32 rows with half a panel.
inline void product_of_32(const Half* rows, int64_t width, const Half* panel, int64_t depth, float* to,
                          int64_t stride) {
  _tile_zero(0);
  _tile_zero(1);
  _tile_zero(2);
  _tile_zero(3);
  for (int64_t k = 0; k < depth; k += 32, panel += 32 * Panels<Half>::kWidth) {
    _tile_loadd(4, rows + k, width * 2);
    _tile_loadd(6, panel, 256);
    _tile_dpbf16ps(0, 4, 6);
    _tile_loadd(7, panel + 32, 256);
    _tile_dpbf16ps(1, 4, 7);
    _tile_loadd(5, rows + 16 * width + k, width * 2);
    _tile_dpbf16ps(2, 5, 6);
    _tile_dpbf16ps(3, 5, 7);
  }
  _tile_stored(0, to, stride * 4);
  _tile_stored(1, to + 16, stride * 4);
  _tile_stored(2, to + 16 * stride, stride * 4);
  _tile_stored(3, to + 16 * stride + 16, stride * 4);
}

// Any number of rows; up to 31 more may be computed.
inline void multiply_rows(const Half* rows, int64_t width, int64_t num_rows, const Half* panel, int64_t depth,
                          float* to, int64_t stride) {
  for (int64_t row = 0; row < num_rows; row += 32) {
    if (num_rows - row <= 16) {
      product_of_16(rows + row * width, width, panel, depth, to + row * stride, stride);
    } else {
      product_of_32(rows + row * width, width, panel, depth, to + row * stride, stride);
      product_of_32(rows + row * width, width, panel + 64, depth, to + row * stride + 32, stride);
    }
  }
}
#else
template <int num_rows>
inline void product_of(const Half* rows, int64_t width, const Half* panel, int64_t depth, float* to, int64_t stride) {
  __m512 sums[num_rows][4] = {};
  for (int64_t k = 0; k < depth; k += 2, panel += 2 * Panels<Half>::kWidth) {
    __m512i weights[4];
    for (int v = 0; v < 4; v++) weights[v] = _mm512_loadu_si512(panel + 32 * v);
#pragma GCC unroll 6
    for (int r = 0; r < num_rows; r++) {
      int32_t pair;
      std::memcpy(&pair, rows + r * width + k, sizeof pair);
      const __m512i value = _mm512_set1_epi32(pair);
#pragma GCC unroll 4
      for (int v = 0; v < 4; v++) sums[r][v] = _mm512_dpbf16_ps(sums[r][v], (__m512bh)value, (__m512bh)weights[v]);
    }
  }
  for (int r = 0; r < num_rows; r++)
    for (int v = 0; v < 4; v++) _mm512_storeu_ps(to + r * stride + 16 * v, sums[r][v]);
}

inline void multiply_rows(const Half* rows, int64_t width, int64_t num_rows, const Half* panel, int64_t depth,
                          float* to, int64_t stride) {
  for (int64_t row = 0, count; row < num_rows; row += count) {
    count = num_rows - row >= 6 ? 6 : 1;
    auto product = count == 6 ? product_of<6> : product_of<1>;
    product(rows + row * width, width, panel, depth, to + row * stride, stride);
  }
}
#endif
