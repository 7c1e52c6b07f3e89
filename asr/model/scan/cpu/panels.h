// The matrix products of the kernel: rows with packed weights, and the gradient of weights.

#pragma once

#include <vector>

#include "vectors.h"

using std::int64_t;

inline int64_t rounded_up(int64_t size, int64_t unit) { return (size + unit - 1) / unit * unit; }

// A matrix [depth, columns] cut into panels of a few vectors, each panel stored row after row. Its rows are those of
// `taps` matrices [width, columns] one below the other.
template <class Scalar>
struct Panels {
  // Sums of 8 rows and 3 vectors fill 32 registers (AVX-512, NEON), of 4 and 3 fill 16 (AVX2, SSE).
  static constexpr int kVectors = 3, kRows = kRegisters == 32 ? 8 : 4;
  static constexpr int kWidth = kVectors * kLanes<Scalar>;
  static constexpr int kDepthUnit = 1;  // a tap's width is rounded up to it
  int64_t depth, columns;               // columns rounded up to whole panels, filled with zeros
  std::vector<Scalar> values;

  template <class Element>
  Panels(int64_t taps, int64_t width, int64_t num_columns, Element element)
      : depth(taps * width), columns(rounded_up(num_columns, kWidth)), values(depth * columns) {
    for (int64_t first = 0; first < num_columns; first += kWidth) {
      const int64_t count = num_columns - first < kWidth ? num_columns - first : kWidth;
      for (int64_t k = 0; k < depth; k++)
        for (int64_t j = 0; j < count; j++)
          values[first * depth + k * kWidth + j] = element(k / width, k % width, first + j);
    }
  }
};

// products[row, panel] of a few rows, `width` apart: every vector of weights is read once and serves all of them from
// registers.
template <class Scalar, int num_rows>
inline void panel_product(const Scalar* rows, int64_t width, const Scalar* panel, int64_t depth, Scalar* products,
                          int64_t stride) {
  using Vector = typename VectorOf<Scalar>::type;
  using Matrix = Panels<Scalar>;
  Vector sums[num_rows][Matrix::kVectors] = {};
  for (int64_t k = 0; k < depth; k++, panel += Matrix::kWidth) {
    Vector weights[Matrix::kVectors];
    for (int v = 0; v < Matrix::kVectors; v++) weights[v] = load(panel + v * kLanes<Scalar>);
    for (int byte = 0; byte < Matrix::kVectors * kVectorBytes; byte += kLineBytes)
      __builtin_prefetch(reinterpret_cast<const char*>(panel + 16 * Matrix::kWidth) + byte);
#pragma GCC unroll 8
    for (int r = 0; r < num_rows; r++) {
      const Vector value = all_lanes(rows[r * width + k]);
#pragma GCC unroll 4
      for (int v = 0; v < Matrix::kVectors; v++) sums[r][v] += value * weights[v];
    }
  }
  for (int r = 0; r < num_rows; r++)
    for (int v = 0; v < Matrix::kVectors; v++) store(products + r * stride + v * kLanes<Scalar>, sums[r][v]);
}

// The same for a number of rows that is known when it runs, `most` of them.
template <class Scalar, int most>
inline void some_rows(int64_t num_rows, const Scalar* rows, int64_t width, const Scalar* panel, int64_t depth,
                      Scalar* products, int64_t stride) {
  if (num_rows == most) panel_product<Scalar, most>(rows, width, panel, depth, products, stride);
  else if constexpr (most > 1) some_rows<Scalar, most - 1>(num_rows, rows, width, panel, depth, products, stride);
}

// Any number of rows, in tiles as even as can be.
template <class Scalar>
void multiply_rows(const Scalar* rows, int64_t width, int64_t num_rows, const Scalar* panel, int64_t depth,
                   Scalar* products, int64_t stride) {
  constexpr int most = Panels<Scalar>::kRows;
  const int64_t num_tiles = (num_rows + most - 1) / most;
  for (int64_t tile = 0; tile < num_tiles; tile++) {
    const int64_t start = num_rows * tile / num_tiles, end = num_rows * (tile + 1) / num_tiles;
    some_rows<Scalar, most>(end - start, rows + start * width, width, panel, depth, products + start * stride, stride);
  }
}

// Frames of every band, with zero bands on both sides of each utterance's, so that the neighbourhood of a band, all
// taps wide, is one stretch that begins `side` bands before it.
template <class Element>
struct Neighbourhoods {
  int64_t utterances, bands, side, width;  // width rounded up as the panels want it, filled with zeros
  std::vector<Element> values;

  Neighbourhoods(int64_t utterances, int64_t bands, int64_t taps, int64_t units)
      : utterances(utterances), bands(bands), side(taps / 2), width(rounded_up(units, Panels<Element>::kDepthUnit)),
        values((utterances * padded() + taps + 31) * width) {}  // tiles of rows may reach past the last
  int64_t padded() const { return bands + 2 * side; }
  // The number of a row among all neighbourhoods, those that straddle two utterances too.
  int64_t place(int64_t row) const { return row / bands * padded() + row % bands; }
  Element* middle(int64_t row) { return values.data() + (place(row) + side) * width; }
};

// The products of all neighbourhoods with a matrix; the place is made once for all steps.
template <class Element, class Scalar>
struct Products {
  const Neighbourhoods<Element>& rows;
  const Panels<Element>& matrix;
  std::vector<Scalar> values;

  Products(const Neighbourhoods<Element>& rows, const Panels<Element>& matrix)
      : rows(rows), matrix(matrix), values((rows.utterances * rows.padded() + 31) * matrix.columns) {}
  const Scalar* of(int64_t row) const { return values.data() + rows.place(row) * matrix.columns; }

  // Compute those of the first rows, panel by panel, which the first-level cache holds.
  void multiply(int64_t num_rows) {
    const int64_t count = num_rows / rows.bands;
    // Convolutions may leave out what lies between utterances; tiles would rather have long runs.
    const bool apart = rows.side > 0 && Panels<Element>::kDepthUnit == 1;
    for (int64_t first = 0; first < matrix.columns; first += Panels<Element>::kWidth) {
      const Element* panel = matrix.values.data() + first * matrix.depth;
      for (int64_t u = 0; u < (apart ? count : 1); u++)
        multiply_rows(rows.values.data() + u * rows.padded() * rows.width, rows.width,
                      apart ? rows.bands : count * rows.padded(), panel, matrix.depth,
                      values.data() + u * rows.padded() * matrix.columns + first, matrix.columns);
    }
  }
};

// result [m, n] += left.T @ right, with neither turned round in memory: the gradient of a weight. Blocks of rows are
// packed so that a few columns of `left` meet one panel of `right` in registers and cache. It is fastest with the wider
// one on the right.
template <class Scalar>
struct OuterProduct {
  using Vector = typename VectorOf<Scalar>::type;
  static constexpr int kVectors = kRegisters == 32 ? 4 : 3, kColumns = kRegisters == 32 ? 6 : 4;
  static constexpr int kWidth = kVectors * kLanes<Scalar>;
  static constexpr int kRows = 256;   // of a block, so that a tile's columns and a panel fit the first-level cache
  static constexpr int kGap = kLineBytes / sizeof(Scalar);  // between packed parts, lest all begin in one set of it
  int64_t m, n, left_stride, right_stride;
  const Scalar *left, *right;  // [row, m], [row, n], rows so many values apart
  Scalar* result;

  // The columns [begin, end) of some rows, in parts of `width` side by side, filled up with zeros.
  template <int width>
  static void pack(const Scalar* from, int64_t stride, int64_t begin, int64_t end, int64_t rows, Scalar* to) {
    constexpr int64_t part = kRows * width + kGap;
    for (int64_t row = 0; row < rows; row++, from += stride) {
      Scalar* line = to + row * width;
      int64_t column = begin;
      for (; column + width <= end; column += width, line += part)
        std::memcpy(line, from + column, width * sizeof(Scalar));
      for (int64_t j = 0; column < end && j < width; j++) line[j] = column + j < end ? from[column + j] : 0;
    }
  }

  void tile(const Scalar* columns, const Scalar* panel, int64_t rows, int64_t column, int64_t first) const {
    Vector sums[kColumns][kVectors] = {};
    for (int64_t row = 0; row < rows; row++, columns += kColumns, panel += kWidth) {
      Vector values[kVectors];
      for (int v = 0; v < kVectors; v++) values[v] = load(panel + v * kLanes<Scalar>);
#pragma GCC unroll 6
      for (int c = 0; c < kColumns; c++) {
        const Vector factor = all_lanes(columns[c]);
#pragma GCC unroll 4
        for (int v = 0; v < kVectors; v++) sums[c][v] += factor * values[v];
      }
    }
    const bool whole = first + kWidth <= n;
    for (int64_t c = 0; c < kColumns && column + c < m; c++) {
      Scalar* to = result + (column + c) * n + first;
      if (whole) {
        for (int v = 0; v < kVectors; v++, to += kLanes<Scalar>) store(to, load(to) + sums[c][v]);
      } else {
        for (int64_t j = 0; first + j < n; j++) to[j] += sums[c][j / kLanes<Scalar>][j % kLanes<Scalar>];
      }
    }
  }

  // The columns [begin, end) of `right`, over all rows.
  void run(int64_t num_rows, int64_t begin, int64_t end) const {
    constexpr int64_t panel = kRows * kWidth + kGap, tile_size = kRows * kColumns + kGap;
    const int64_t num_panels = (end - begin + kWidth - 1) / kWidth, num_tiles = (m + kColumns - 1) / kColumns;
    std::vector<Scalar> panels(num_panels * panel), columns(num_tiles * tile_size);
    for (int64_t start = 0; start < num_rows; start += kRows) {
      const int64_t rows = num_rows - start < kRows ? num_rows - start : kRows;
      pack<kWidth>(right + start * right_stride, right_stride, begin, end, rows, panels.data());
      pack<kColumns>(left + start * left_stride, left_stride, 0, m, rows, columns.data());
      for (int64_t p = 0; p < num_panels; p++)
        for (int64_t t = 0; t < num_tiles; t++)
          tile(&columns[t * tile_size], &panels[p * panel], rows, t * kColumns, begin + p * kWidth);
    }
  }
};
