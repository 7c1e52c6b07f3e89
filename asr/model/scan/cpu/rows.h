// One row of a layer in one step: what `struct Step` reads and writes.

#pragma once

#if defined(HALVES)
#include "halves.h"
#elif defined(BYTES)
#include "bytes.h"
struct Tiles {};
#else
#include "panels.h"
struct Tiles {};
#endif

template <int number>
struct Phase {};  // a step is cut into phases where it needs a mean over the units

#include "step.h"

constexpr int at_least_one(int size) { return size > 0 ? size : 1; }

template <class Scalar, class Stored>
struct Row {
  int64_t units, weight_stride, noise_stride;
  const Stored* inputs;
  const Scalar *products, *state[2], *weights, *noise, *gradients[2];
  Scalar *next[2], *saved_for_row, *spilled, *state_gradients[2], *weight_gradients;
  Stored *saved, *input_gradients, *recurrent_gradients, *scratch_gradients;
  typename VectorOf<Scalar>::type sums[at_least_one(Step::forward_means + Step::backward_means)];  // then means
};

// As many units as the processor has lanes; at the row's end fewer may be left.
template <class Scalar, class Stored, bool partial>
struct Units {
  using Vector = typename VectorOf<Scalar>::type;
  Row<Scalar, Stored>& row;
  int64_t unit, count;  // the first unit, and how many there are where partial

  template <class Element>
  Vector get(const Element* from) const {
    if (!partial) return load(from + unit);
    Element some[kLanes<Scalar>] = {};
    std::memcpy(some, from + unit, count * sizeof(Element));
    return load(some);
  }
  template <class Element>
  void put(Element* to, Vector vector) const {
    if (!partial) return store(to + unit, vector);
    Element some[kLanes<Scalar>];
    store(some, vector);
    std::memcpy(to + unit, some, count * sizeof(Element));
  }

  Vector constant(double value) const { return all_lanes(static_cast<Scalar>(value)); }
  Vector input(int gate) const { return get(row.inputs + gate * row.units); }
  Vector recurrent(int gate) const { return get(row.products + gate * row.units); }
  Vector state(int number) const { return get(row.state[number]); }
  Vector weight(int number) const { return get(row.weights + number * row.weight_stride); }
  Vector noise(int number) const { return get(row.noise + number * row.noise_stride); }
  Vector saved(int number) const { return get(row.saved + number * row.units); }
  Vector gradient(int number) const { return get(row.gradients[number]); }
  Vector spilled(int number) const { return get(row.spilled + number * row.units); }
  void spill(int number, Vector value) const { put(row.spilled + number * row.units, value); }
  void next(int number, Vector value) const { put(row.next[number], value); }
  void save(int number, Vector value) const {
    if (row.saved != nullptr) put(row.saved + number * row.units, value);
  }
  void save_for_row(int number, Vector value) const {
    if (row.saved != nullptr) row.saved_for_row[number] = value[0];
  }
  Vector saved_for_row(int number) const { return all_lanes(row.saved_for_row[number]); }
  void sum(int number, Vector value) const {
    if (partial)
      for (int64_t lane = count; lane < kLanes<Scalar>; lane++) value[lane] = 0;
    row.sums[number] += value;
  }
  Vector mean(int number) const { return row.sums[number]; }
  void input_gradient(int gate, Vector value) const {
    put(row.input_gradients + gate * row.units, value);
    if (Step::additive) put(row.scratch_gradients + gate * row.units, value);
  }
  void recurrent_gradient(int gate, Vector value) const {
    put(row.recurrent_gradients + gate * row.units, value);
    put(row.scratch_gradients + gate * row.units, value);
  }
  void state_gradient(int number, Vector value) const { put(row.state_gradients[number], value); }
  void weight_gradient(int number, Vector value) const {
    Scalar* total = row.weight_gradients + number * row.weight_stride;
    put(total, get(total) + value);
  }
};

template <class Scalar, class Stored, class Call>
inline void for_all_units(Row<Scalar, Stored>& row, Call call) {
  int64_t unit = 0;
  for (; unit + kLanes<Scalar> <= row.units; unit += kLanes<Scalar>) call(Units<Scalar, Stored, false>{row, unit, 0});
  if (unit < row.units) call(Units<Scalar, Stored, true>{row, unit, row.units - unit});
}

// Turn the sums that a phase has completed into means, in all lanes.
template <class Scalar, class Stored>
inline void finish_means(Row<Scalar, Stored>& row, const int* summed_in, int num_means, int phase) {
  for (int number = 0; number < num_means; number++) {
    if (summed_in[number] != phase) continue;
    Scalar total = 0;
    for (int lane = 0; lane < kLanes<Scalar>; lane++) total += row.sums[number][lane];
    row.sums[number] = all_lanes(total / row.units);
  }
}

template <int phase, class Scalar, class Stored>
inline void forward_row(Row<Scalar, Stored>& row) {
  if constexpr (phase < Step::forward_phases) {
    for_all_units(row, [](auto units) { Step::forward(units, Phase<phase>{}); });
    finish_means(row, Step::forward_summed_in, Step::forward_means, phase);
    forward_row<phase + 1>(row);
  }
}

template <int phase, class Scalar, class Stored>
inline void backward_row(Row<Scalar, Stored>& row) {
  if constexpr (phase < Step::backward_phases) {
    for_all_units(row, [](auto units) { Step::backward(units, Phase<phase>{}); });
    finish_means(row, Step::backward_summed_in, Step::backward_means, phase);
    backward_row<phase + 1>(row);
  }
}

// to[j] = from[j], times mask[j] where there is one
template <class Scalar, class Element>
inline void copy_masked(Element* to, const Scalar* from, const Scalar* mask, int64_t size) {
  constexpr int lanes = kLanes<Scalar>;
  Scalar some[lanes] = {};
  Element rounded[lanes];
  for (int64_t j = 0; j < size; j += lanes) {
    const int64_t count = size - j < lanes ? size - j : lanes;
    if (count < lanes) std::memcpy(some, from + j, count * sizeof(Scalar));
    auto vector = load(count < lanes ? some : from + j);
    if (mask != nullptr)
      for (int64_t lane = 0; lane < count; lane++) vector[lane] *= mask[j + lane];
    if (count == lanes) {
      store(to + j, vector);
    } else {
      store(rounded, vector);
      std::memcpy(to + j, rounded, count * sizeof(Element));
    }
  }
}
