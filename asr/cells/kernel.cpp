// One recurrent layer over time, forwards and backwards, for any cell.
//
// The cell is `struct Step` in step.h, which asr/cells/step_source.py writes from the cell's own equations. This file
// holds the rest: the product with the recurrent weights, the loop over time, the state, and the threads. It needs the
// C++ library and nothing of PyTorch; kernel.py builds it and calls the four functions at its end.
//
// One step of a layer, for the rows of all utterances (a row is one band of one utterance):
//
//     products[row] = hidden[row] @ weights          the packed product below, from a copy of h[t-1] (times its mask)
//     Step::forward(inputs[row, t], products[row], state[row], ...) -> state[row], outputs[row, t]
//
// A cell that convolves over bands reads its neighbours too. `hidden` has zero bands around each utterance's, so that
// the neighbourhood of a band is one contiguous stretch, and a convolution is the same product on wider, overlapping
// rows. Threads share out the utterances and never wait for one another.

#include <thread>
#include <vector>

#include "panels.h"

template <int number>
struct Phase {};  // a step is cut into phases where it needs a mean over the units

#include "step.h"

constexpr int at_least_one(int size) { return size > 0 ? size : 1; }

// ---- The arguments, as kernel.py fills them in

template <class Scalar>
struct Arguments {
  int64_t batch, time, bands, units, recurrent, taps, threads, training;
  int64_t noise_strides[4];               // of batch, time, band and state; the units are adjacent
  const Scalar* inputs;                   // [batch, time, band, gate, unit]
  const Scalar* recurrent_weight;         // [gate, unit, tap, recurrent]
  const Scalar* projection;               // [recurrent, unit], or null
  const Scalar* weights;                  // [weight, band, unit]
  const Scalar* mask;                     // [batch, band, recurrent], or null
  const Scalar* noise;                    // by noise_strides
  const Scalar* initial[2];               // [batch, band, recurrent], [batch, band, unit]
  Scalar* states[2];                      // [batch, time, band, .] as `initial`; the first are the outputs
  Scalar* unprojected;                    // [batch, time, band, unit] where projected
  Scalar* saved;                          // [batch, time, band, saved, unit] in training
  const Scalar* output_gradients;         // [batch, time, band, recurrent]
  const Scalar* last_gradients[2];        // of the last state, as `initial`
  Scalar* input_gradients;                // as `inputs`
  Scalar* recurrent_gradients;            // as `inputs`; where additive they are the same
  Scalar* product_gradients;              // [batch, time, band, recurrent]: of the projected outputs
  Scalar* initial_gradients[2];           // as `initial`
  Scalar* weight_gradients;               // [batch, weight, band, unit], zeros at first
};

// ---- One row in one step: what Step reads and writes. At the row's end fewer units than lanes may be left.

template <class Scalar>
struct Row {
  int64_t units, weight_stride;
  const Scalar *inputs, *products, *state[2], *weights, *noise, *gradients[2];
  int64_t noise_stride;
  Scalar *next[2], *saved, *spilled;
  Scalar *input_gradients, *recurrent_gradients, *scratch_gradients, *state_gradients[2], *weight_gradients;
  typename VectorOf<Scalar>::type sums[at_least_one(Step::forward_means + Step::backward_means)];  // then means
};

template <class Scalar, bool partial>
struct Units {
  using Vector = typename VectorOf<Scalar>::type;
  Row<Scalar>& row;
  int64_t unit, count;  // the first unit, and how many there are where partial

  Vector get(const Scalar* from) const {
    if (!partial) return load(from + unit);
    Vector vector = {};
    std::memcpy(&vector, from + unit, count * sizeof(Scalar));
    return vector;
  }
  void put(Scalar* to, Vector vector) const {
    if (!partial) return store(to + unit, vector);
    std::memcpy(to + unit, &vector, count * sizeof(Scalar));
  }

  Vector constant(double value) const { return Vector{} + static_cast<Scalar>(value); }
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

template <class Scalar, class Call>
inline void for_all_units(Row<Scalar>& row, Call call) {
  int64_t unit = 0;
  for (; unit + kLanes<Scalar> <= row.units; unit += kLanes<Scalar>) call(Units<Scalar, false>{row, unit, 0});
  if (unit < row.units) call(Units<Scalar, true>{row, unit, row.units - unit});
}

// Turn the sums that a phase has completed into means, in all lanes.
template <class Scalar>
inline void finish_means(Row<Scalar>& row, const int* summed_in, int num_means, int phase) {
  for (int number = 0; number < num_means; number++) {
    if (summed_in[number] != phase) continue;
    Scalar total = 0;
    for (int lane = 0; lane < kLanes<Scalar>; lane++) total += row.sums[number][lane];
    row.sums[number] = typename VectorOf<Scalar>::type{} + total / row.units;
  }
}

template <int phase, class Scalar>
inline void forward_row(Row<Scalar>& row) {
  if constexpr (phase < Step::forward_phases) {
    for_all_units(row, [](auto units) { Step::forward(units, Phase<phase>{}); });
    finish_means(row, Step::forward_summed_in, Step::forward_means, phase);
    forward_row<phase + 1>(row);
  }
}

template <int phase, class Scalar>
inline void backward_row(Row<Scalar>& row) {
  if constexpr (phase < Step::backward_phases) {
    for_all_units(row, [](auto units) { Step::backward(units, Phase<phase>{}); });
    finish_means(row, Step::backward_summed_in, Step::backward_means, phase);
    backward_row<phase + 1>(row);
  }
}

// ---- The loop over time, for the utterances of one thread

// Frames of every band with zero bands on both sides; `rows[r]` is the neighbourhood of row r, all taps wide.
template <class Scalar>
struct Neighbourhoods {
  int64_t bands, side, width;
  std::vector<Scalar> values;
  std::vector<const Scalar*> rows;

  Neighbourhoods(int64_t utterances, int64_t bands, int64_t taps, int64_t width)
      : bands(bands), side(taps / 2), width(width), values(utterances * (bands + taps - 1) * width) {
    for (int64_t u = 0; u < utterances; u++)
      for (int64_t band = 0; band < bands; band++) rows.push_back(values.data() + (u * padded() + band) * width);
  }
  int64_t padded() const { return bands + 2 * side; }
  Scalar* middle(int64_t row) { return values.data() + (row / bands * padded() + side + row % bands) * width; }
};

template <class Scalar>
struct Part {
  using Values = std::vector<Scalar>;
  const Arguments<Scalar>& a;
  int64_t first, rows;  // the first utterance, and the number of rows: utterances times bands
  Values spilled;

  Part(const Arguments<Scalar>& a, int64_t first, int64_t utterances)
      : a(a), first(first), rows(utterances * a.bands),
        spilled(at_least_one(Step::forward_spilled + Step::backward_spilled) * a.units) {}

  int64_t width(int state) const { return state == 0 ? a.recurrent : a.units; }
  // The place of a row's frame in a tensor [batch, time, band].
  int64_t frame(int64_t row, int64_t t) const {
    return ((first + row / a.bands) * a.time + t) * a.bands + row % a.bands;
  }
  int64_t global(int64_t row) const { return first * a.bands + row; }  // ... in a tensor [batch, band]
  // A state after frame t, or before the first; at inference all frames of an inner cell share one place.
  Scalar* state_at(int state, int64_t row, int64_t t) const {
    if (state > 0 && !a.training) return a.states[state] + global(row) * width(state);
    return a.states[state] + frame(row, t) * width(state);
  }
  const Scalar* state_before(int state, int64_t row, int64_t t) const {
    return t > 0 ? state_at(state, row, t - 1) : a.initial[state] + global(row) * width(state);
  }

  Row<Scalar> row_at(int64_t row, int64_t t) {
    Row<Scalar> r = {};
    const int64_t band = row % a.bands, utterance = first + row / a.bands;
    r.units = a.units;
    r.weight_stride = a.bands * a.units;
    r.inputs = a.inputs + frame(row, t) * Step::gates * a.units;
    r.weights = a.weights + band * a.units;
    if (Step::noisy) {
      const int64_t* stride = a.noise_strides;
      r.noise = a.noise + utterance * stride[0] + t * stride[1] + band * stride[2];
      r.noise_stride = stride[3];
    }
    if (a.training) r.saved = a.saved + frame(row, t) * Step::saved * a.units;
    r.spilled = spilled.data();
    for (int state = 0; state < Step::states; state++) r.state[state] = state_before(state, row, t);
    return r;
  }

  void masked_copy(Scalar* to, const Scalar* from, int64_t row) const {
    const Scalar* mask = a.mask ? a.mask + global(row) * a.recurrent : nullptr;
    for (int64_t j = 0; j < a.recurrent; j++) to[j] = mask ? from[j] * mask[j] : from[j];
  }

  void forward(const Panels<Scalar>& weights, const Panels<Scalar>& projection) {
    Neighbourhoods<Scalar> hidden(rows / a.bands, a.bands, a.taps, a.recurrent);
    Values products(rows * weights.columns), projected(rows * projection.columns);
    std::vector<const Scalar*> unprojected(rows);
    for (int64_t row = 0; row < rows; row++) masked_copy(hidden.middle(row), state_before(0, row, 0), row);
    for (int64_t t = 0; t < a.time; t++) {
      multiply(hidden.rows, weights, products.data());
      for (int64_t row = 0; row < rows; row++) {
        Row<Scalar> r = row_at(row, t);
        r.products = products.data() + row * weights.columns;
        for (int state = 0; state < Step::states; state++) r.next[state] = state_at(state, row, t);
        if (Step::projected) unprojected[row] = r.next[0] = a.unprojected + frame(row, t) * a.units;
        forward_row<0>(r);
      }
      if (Step::projected) multiply(unprojected, projection, projected.data());
      for (int64_t row = 0; row < rows; row++) {
        Scalar* output = state_at(0, row, t);
        if (Step::projected) std::memcpy(output, &projected[row * projection.columns], a.recurrent * sizeof(Scalar));
        masked_copy(hidden.middle(row), output, row);
      }
    }
  }

  // carried[s] is the gradient of state s after frame t, from all later frames.
  void backward(const Panels<Scalar>& weights, const Panels<Scalar>& projection) {
    Neighbourhoods<Scalar> gates(rows / a.bands, a.bands, a.taps, Step::gates * a.units);
    Values products(rows * weights.columns), unprojected(rows * projection.columns);
    Values carried[2], before[2];
    std::vector<const Scalar*> outputs(rows);
    for (int state = 0; state < Step::states; state++) {
      const Scalar* last = a.last_gradients[state] + global(0) * width(state);
      carried[state].assign(last, last + rows * width(state));
      before[state].resize(rows * width(state));
    }
    for (int64_t t = a.time - 1; t >= 0; t--) {
      for (int64_t row = 0; row < rows; row++) {
        Scalar* total = &carried[0][row * a.recurrent];
        const Scalar* given = a.output_gradients + frame(row, t) * a.recurrent;
        for (int64_t j = 0; j < a.recurrent; j++) total[j] += given[j];
        outputs[row] = total;
        if (Step::projected)
          std::memcpy(a.product_gradients + frame(row, t) * a.recurrent, total, a.recurrent * sizeof *total);
      }
      if (Step::projected) multiply(outputs, projection, unprojected.data());
      for (int64_t row = 0; row < rows; row++)
        backward_step(row, t, gates, carried, before, unprojected.data() + row * projection.columns);
      multiply(gates.rows, weights, products.data());
      for (int64_t row = 0; row < rows; row++) {
        Scalar* total = &before[0][row * a.recurrent];
        const Scalar* mask = a.mask ? a.mask + global(row) * a.recurrent : nullptr;
        const Scalar* product = &products[row * weights.columns];
        for (int64_t j = 0; j < a.recurrent; j++)
          total[j] = (Step::projected ? 0 : total[j]) + (mask ? mask[j] * product[j] : product[j]);
      }
      for (int state = 0; state < Step::states; state++) std::swap(carried[state], before[state]);
    }
    for (int state = 0; state < Step::states; state++)
      std::memcpy(a.initial_gradients[state] + global(0) * width(state), carried[state].data(),
                  carried[state].size() * sizeof(Scalar));
  }

  void backward_step(int64_t row, int64_t t, Neighbourhoods<Scalar>& gates, Values* carried, Values* before,
                     const Scalar* unprojected) {
    Row<Scalar> r = row_at(row, t);
    for (int state = 0; state < Step::states; state++) {
      r.gradients[state] = &carried[state][row * width(state)];
      r.state_gradients[state] = &before[state][row * width(state)];
    }
    if (Step::projected) r.gradients[0] = unprojected;
    r.scratch_gradients = gates.middle(row);
    r.input_gradients = a.input_gradients + frame(row, t) * Step::gates * a.units;
    if (!Step::additive) r.recurrent_gradients = a.recurrent_gradients + frame(row, t) * Step::gates * a.units;
    const int64_t utterance = first + row / a.bands, band = row % a.bands;
    r.weight_gradients = a.weight_gradients + (utterance * Step::weights * a.bands + band) * a.units;
    backward_row<0>(r);
  }
};

// ---- The whole layer

template <class Scalar, class Run>
void for_each_thread(const Arguments<Scalar>& a, Run run) {
  const int64_t num_parts = a.threads < a.batch ? a.threads : a.batch;
  auto part = [&](int64_t number) {
    const int64_t first = a.batch * number / num_parts, end = a.batch * (number + 1) / num_parts;
    Part<Scalar> part(a, first, end - first);
    run(part);
  };
  std::vector<std::thread> others;
  for (int64_t number = 1; number < num_parts; number++) others.emplace_back(part, number);
  if (num_parts > 0) part(0);
  for (auto& other : others) other.join();
}

template <class Scalar>
void forward(const Arguments<Scalar>& a) {
  const int64_t depth = a.taps * a.recurrent;
  const Panels<Scalar> weights(depth, Step::gates * a.units,
                               [&](int64_t k, int64_t j) { return a.recurrent_weight[j * depth + k]; });
  const Panels<Scalar> projection(Step::projected ? a.units : 0, Step::projected ? a.recurrent : 0,
                                  [&](int64_t k, int64_t j) { return a.projection[j * a.units + k]; });
  for_each_thread(a, [&](Part<Scalar>& part) { part.forward(weights, projection); });
}

// The gradient of h[t-1] gathers from the bands that it gave to: the same convolution with the taps turned round.
template <class Scalar>
void backward(const Arguments<Scalar>& a) {
  const int64_t gates = Step::gates * a.units, depth = a.taps * a.recurrent;
  const Panels<Scalar> weights(a.taps * gates, a.recurrent, [&](int64_t k, int64_t j) {
    return a.recurrent_weight[k % gates * depth + (a.taps - 1 - k / gates) * a.recurrent + j];
  });
  const Panels<Scalar> projection(Step::projected ? a.recurrent : 0, Step::projected ? a.units : 0,
                                  [&](int64_t k, int64_t j) { return a.projection[k * a.units + j]; });
  for_each_thread(a, [&](Part<Scalar>& part) { part.backward(weights, projection); });
}

// result [m, n], zeros at first, += left.T @ right over [row, m] and [row, n].
template <class Scalar>
void outer_product(const Scalar* left, const Scalar* right, Scalar* result, const int64_t* sizes, int64_t threads) {
  const int64_t rows = sizes[0], m = sizes[1], n = sizes[2], num_tiles = (m + 5) / 6;
  const OuterProduct<Scalar> product{m, n, left, right, result};
  std::vector<std::thread> others;
  for (int64_t number = threads - 1; number >= 0; number--) {
    const int64_t begin = num_tiles * number / threads * 6, end = num_tiles * (number + 1) / threads * 6;
    auto part = [=] { product.run(rows, begin, end < m ? end : m); };
    if (number > 0) others.emplace_back(part);
    else part();
  }
  for (auto& other : others) other.join();
}

extern "C" {
void outer_product_float(const float* left, const float* right, float* result, const int64_t* sizes, int64_t threads) {
  outer_product(left, right, result, sizes, threads);
}
void outer_product_double(const double* left, const double* right, double* result, const int64_t* sizes,
                          int64_t threads) {
  outer_product(left, right, result, sizes, threads);
}
void forward_float(const Arguments<float>* arguments) { forward(*arguments); }
void forward_double(const Arguments<double>* arguments) { forward(*arguments); }
void backward_float(const Arguments<float>* arguments) { backward(*arguments); }
void backward_double(const Arguments<double>* arguments) { backward(*arguments); }
}
