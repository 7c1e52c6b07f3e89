// The product of rows with packed weights.

#pragma once

#include <vector>

#include "vectors.h"

using std::int64_t;

inline int64_t rounded_up(int64_t size, int64_t unit) { return (size + unit - 1) / unit * unit; }

// A matrix [depth, columns] cut into panels of a few vectors, each panel stored row after row.
template <class Scalar>
struct Panels {
  static constexpr int kVectors = kVectorBytes == 64 ? 4 : 2;
  static constexpr int kWidth = kVectors * kLanes<Scalar>;
  int64_t depth, columns;  // columns rounded up to whole panels, filled with zeros
  std::vector<Scalar> values;

  template <class Element>
  Panels(int64_t depth, int64_t num_columns, Element element)
      : depth(depth), columns(rounded_up(num_columns, kWidth)), values(depth * columns) {
    for (int64_t first = 0; first < num_columns; first += kWidth) {
      const int64_t width = num_columns - first < kWidth ? num_columns - first : kWidth;
      for (int64_t j = 0; j < width; j++)
        for (int64_t k = 0; k < depth; k++) values[first * depth + k * kWidth + j] = element(k, first + j);
    }
  }
};

// products[row, panel] of a few rows: every vector of weights is read once and serves all of them from registers.
template <class Scalar, int num_rows>
inline void panel_product(const Scalar* const* rows, const Scalar* panel, int64_t depth, Scalar* products,
                          int64_t stride) {
  using Vector = typename VectorOf<Scalar>::type;
  using Matrix = Panels<Scalar>;
  Vector sums[num_rows][Matrix::kVectors] = {};
  const Scalar* row[num_rows];
  for (int r = 0; r < num_rows; r++) row[r] = rows[r];
  for (int64_t k = 0; k < depth; k++, panel += Matrix::kWidth) {
    Vector weights[Matrix::kVectors];
    for (int v = 0; v < Matrix::kVectors; v++) {
      weights[v] = load(panel + v * kLanes<Scalar>);
      __builtin_prefetch(panel + 16 * Matrix::kWidth + v * kLanes<Scalar>);
    }
#pragma GCC unroll 6
    for (int r = 0; r < num_rows; r++) {
      const Vector value = Vector{} + row[r][k];
#pragma GCC unroll 4
      for (int v = 0; v < Matrix::kVectors; v++) sums[r][v] += value * weights[v];
    }
  }
  for (int r = 0; r < num_rows; r++)
    for (int v = 0; v < Matrix::kVectors; v++) store(products + r * stride + v * kLanes<Scalar>, sums[r][v]);
}

// products [row, columns] = rows [row, depth] @ matrix, where each row is given by its address.
template <class Scalar>
void multiply(const std::vector<const Scalar*>& rows, const Panels<Scalar>& matrix, Scalar* products) {
  const int64_t num_rows = rows.size(), num_tiles = (num_rows + 5) / 6;
  for (int64_t first = 0; first < matrix.columns; first += Panels<Scalar>::kWidth) {
    const Scalar* panel = matrix.values.data() + first * matrix.depth;
    for (int64_t tile = 0; tile < num_tiles; tile++) {  // of 6 rows, or as even as can be
      const int64_t start = num_rows * tile / num_tiles, end = num_rows * (tile + 1) / num_tiles;
      const Scalar* const* from = rows.data() + start;
      Scalar* to = products + start * matrix.columns + first;
      switch (end - start) {
        case 6: panel_product<Scalar, 6>(from, panel, matrix.depth, to, matrix.columns); break;
        case 5: panel_product<Scalar, 5>(from, panel, matrix.depth, to, matrix.columns); break;
        case 4: panel_product<Scalar, 4>(from, panel, matrix.depth, to, matrix.columns); break;
        case 3: panel_product<Scalar, 3>(from, panel, matrix.depth, to, matrix.columns); break;
        case 2: panel_product<Scalar, 2>(from, panel, matrix.depth, to, matrix.columns); break;
        case 1: panel_product<Scalar, 1>(from, panel, matrix.depth, to, matrix.columns); break;
      }
    }
  }
}
