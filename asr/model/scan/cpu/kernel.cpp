// One recurrent layer over time, forwards and backwards, for any cell.
//
// The cell is `struct Step` in step.h, which asr/model/scan/cpu/source.py writes from the cell's own equations. This file
// holds the rest: the product with the recurrent weights, the loop over time, the state, and the threads. It needs the
// C++ library and nothing of PyTorch; kernel.py builds it and calls the functions at its end.
//
// One step of a layer, for the rows of all utterances (a row is one band of one utterance):
//
//     products[row] = hidden[row] @ weights          the packed product below, from a copy of h[t-1] (times its mask)
//     Step::forward(inputs[row, t], products[row], state[row], ...) -> state[row], outputs[row, t]
//
// A cell that convolves over bands reads its neighbours too. `hidden` has zero bands around each utterance's, so that
// the neighbourhood of a band is one contiguous stretch, and a convolution is the same product on wider, overlapping
// rows.
//
// A call runs one direction of a layer or both. The second one reads each utterance from its end: its step t is frame
// length - 1 - t. Where lengths are given, an utterance takes no step past its own, and all results there are zeros.
// Threads share out directions and utterances and never wait for one another.
//
// What is only kept or multiplied can be of fewer bits (`Stored`) than what is summed and carried on (`Scalar`). A
// library is compiled for one pair of them, which the compiler is told as SCALAR and STORED. With BYTES it multiplies
// integers of 8 bits, forwards only, for cells of one band and no projection, whose outputs lie in -1..1.

#include <algorithm>
#include <numeric>
#include <thread>
#include <vector>

#include "rows.h"

#if defined(BYTES)
template <class>
using Factor = Byte;
#else
template <class Stored>
using Factor = Stored;
#endif

// ---- The arguments, as kernel.py fills them in

template <class Scalar, class Stored>
struct Arguments {
  int64_t batch, time, bands, units, recurrent, taps, training, reversed;
  int64_t gate_stride, output_stride;     // between two frames' gates and outputs, past those of the other direction
  int64_t noise_strides[4];               // of batch, time, band and state; the units are adjacent
  const int64_t* lengths;                 // [batch] in frames, or null
  const Stored* inputs;                   // [batch, time, band, gate, unit], frames gate_stride apart
  const Scalar* recurrent_weight;         // [gate, unit, tap, recurrent]; of int8_t with BYTES
  const Scalar* projection;               // [recurrent, unit], or null; with BYTES the weights' scales, [gate, unit]
  const Scalar* weights;                  // [weight, band, unit]
  const Scalar* mask;                     // [batch, band, recurrent], or null
  const Scalar* noise;                    // by noise_strides
  const Scalar* initial[2];               // [batch, band, recurrent], [batch, band, unit]
  Scalar* states[2];                      // [batch, time, band, .] as `initial`; the first are the outputs
  Scalar* unprojected;                    // [batch, time, band, unit] where projected
  Stored* saved;                          // [batch, time, band, saved, unit] in training
  Scalar* saved_for_row;                  // [batch, time, band, saved_for_row] in training
  const Scalar* output_gradients;         // as the outputs
  const Scalar* last_gradients[2];        // of the last state, as `initial`
  Stored* input_gradients;                // as `inputs`
  Stored* recurrent_gradients;            // as `inputs`; where additive they are the same
  Scalar* product_gradients;              // [batch, time, band, recurrent]: of the projected outputs
  Scalar* initial_gradients[2];           // as `initial`
  Scalar* weight_gradients;               // [batch, weight, band, unit], zeros at first
};

// ---- The loop over time, for the utterances of one thread in one direction

template <class Scalar, class Stored>
struct Part {
  using Values = std::vector<Scalar>;
  using Rows = Neighbourhoods<Factor<Stored>>;
  using Matrix = Panels<Factor<Stored>>;
  const Arguments<Scalar, Stored>& a;
  int64_t rows;                // utterances times bands
  std::vector<int64_t> order;  // the utterances, the longest first, so that those still running come first
  Values spilled;

  Part(const Arguments<Scalar, Stored>& a, int64_t first, int64_t utterances)
      : a(a), rows(utterances * a.bands), order(utterances),
        spilled(at_least_one(Step::forward_spilled + Step::backward_spilled) * a.units) {
    std::iota(order.begin(), order.end(), first);
    std::stable_sort(order.begin(), order.end(), [&](int64_t u, int64_t v) { return length(u) > length(v); });
  }

  int64_t width(int state) const { return state == 0 ? a.recurrent : a.units; }
  int64_t utterance(int64_t row) const { return order[row / a.bands]; }
  int64_t length(int64_t utterance) const { return a.lengths != nullptr ? a.lengths[utterance] : a.time; }
  int64_t num_running(int64_t t) const {  // rows that take step t
    int64_t count = order.size();
    while (count > 0 && length(order[count - 1]) <= t) count--;
    return count * a.bands;
  }
  // The place of a row's frame in a tensor [batch, time, band].
  int64_t frame(int64_t row, int64_t t) const {
    const int64_t u = utterance(row), end = length(u);
    return (u * a.time + (a.reversed && t < end ? end - 1 - t : t)) * a.bands + row % a.bands;
  }
  int64_t global(int64_t row) const { return utterance(row) * a.bands + row % a.bands; }  // ... in [batch, band]
  // A state after step t, or before the first; at inference all frames of an inner cell share one place.
  Scalar* state_at(int state, int64_t row, int64_t t) const {
    if (state == 0) return a.states[0] + frame(row, t) * a.output_stride;
    return a.states[state] + (a.training ? frame(row, t) : global(row)) * a.units;
  }
  const Scalar* state_before(int state, int64_t row, int64_t t) const {
    return t > 0 ? state_at(state, row, t - 1) : a.initial[state] + global(row) * width(state);
  }
  const Scalar* mask(int64_t row) const { return a.mask ? a.mask + global(row) * a.recurrent : nullptr; }

  Row<Scalar, Stored> row_at(int64_t row, int64_t t) {
    Row<Scalar, Stored> r = {};
    const int64_t band = row % a.bands;
    r.units = a.units;
    r.weight_stride = a.bands * a.units;
    r.inputs = a.inputs + frame(row, t) * a.gate_stride;
    r.weights = a.weights + band * a.units;
    if (Step::noisy) {
      const int64_t* stride = a.noise_strides;
      r.noise = a.noise + utterance(row) * stride[0] + t * stride[1] + band * stride[2];
      r.noise_stride = stride[3];
    }
    if (a.training) {
      r.saved = a.saved + frame(row, t) * Step::saved * a.units;
      r.saved_for_row = a.saved_for_row + frame(row, t) * Step::saved_for_row;
    }
    r.spilled = spilled.data();
    for (int state = 0; state < Step::states; state++) r.state[state] = state_before(state, row, t);
    return r;
  }

  template <class Element>
  void clear_padding(Element* frames, int64_t stride, int64_t size) const {
    for (int64_t row = 0; row < rows; row++)
      for (int64_t t = length(utterance(row)); t < a.time; t++)
        std::memset(frames + frame(row, t) * stride, 0, size * sizeof(Element));
  }

  void forward(const Matrix& weights, const Matrix& projection) {
    Rows hidden(rows / a.bands, a.bands, a.taps, a.recurrent);
    Rows unprojected(Step::projected ? rows / a.bands : 0, a.bands, 1, a.units);
    Products<Factor<Stored>, Scalar> products(hidden, weights), projected(unprojected, projection);
    for (int64_t row = 0; row < rows; row++)
      copy_masked(hidden.middle(row), state_before(0, row, 0), mask(row), a.recurrent);
    for (int64_t t = 0; t < a.time; t++) {
      const int64_t running = num_running(t);
      products.multiply(running);
      for (int64_t row = 0; row < running; row++) {
        Row<Scalar, Stored> r = row_at(row, t);
        r.products = products.of(row);
        for (int state = 0; state < Step::states; state++) r.next[state] = state_at(state, row, t);
        if (Step::projected) r.next[0] = a.unprojected + frame(row, t) * a.units;
        forward_row<0>(r);
        if (Step::projected) copy_masked<Scalar>(unprojected.middle(row), r.next[0], nullptr, a.units);
      }
      if (Step::projected) projected.multiply(running);
      for (int64_t row = 0; row < running; row++) {
        Scalar* output = state_at(0, row, t);
        if (Step::projected) std::memcpy(output, projected.of(row), a.recurrent * sizeof(Scalar));
        copy_masked(hidden.middle(row), output, mask(row), a.recurrent);
      }
    }
    clear_padding(a.states[0], a.output_stride, a.recurrent);
    if (Step::projected) clear_padding(a.unprojected, a.units, a.units);
  }

  // carried[s] is the gradient of state s after step t, from all later ones.
  void backward(const Matrix& weights, const Matrix& projection) {
    Rows gates(rows / a.bands, a.bands, a.taps, Step::gates * a.units);
    Rows outputs(Step::projected ? rows / a.bands : 0, a.bands, 1, a.recurrent);
    Products<Stored, Scalar> products(gates, weights), unprojected(outputs, projection);
    Values carried[2], before[2];
    for (int state = 0; state < Step::states; state++) {
      for (int64_t row = 0; row < rows; row++) {
        const Scalar* last = a.last_gradients[state] + global(row) * width(state);
        carried[state].insert(carried[state].end(), last, last + width(state));
      }
      before[state] = carried[state];  // of an utterance that takes no step yet
    }
    for (int64_t t = a.time - 1; t >= 0; t--) {
      const int64_t running = num_running(t);
      for (int64_t row = 0; row < running; row++) {
        Scalar* total = &carried[0][row * a.recurrent];
        const Scalar* given = a.output_gradients + frame(row, t) * a.output_stride;
        for (int64_t j = 0; j < a.recurrent; j++) total[j] += given[j];
        if (!Step::projected) continue;
        copy_masked<Scalar>(outputs.middle(row), total, nullptr, a.recurrent);
        std::memcpy(a.product_gradients + frame(row, t) * a.recurrent, total, a.recurrent * sizeof *total);
      }
      if (Step::projected) unprojected.multiply(running);
      for (int64_t row = 0; row < running; row++)
        backward_step(row, t, gates, carried, before, Step::projected ? unprojected.of(row) : nullptr);
      products.multiply(running);
      for (int64_t row = 0; row < running; row++) {
        Scalar* total = &before[0][row * a.recurrent];
        const Scalar *product = products.of(row), *masked = mask(row);
        for (int64_t j = 0; j < a.recurrent; j++)
          total[j] = (Step::projected ? 0 : total[j]) + (masked ? masked[j] * product[j] : product[j]);
      }
      for (int state = 0; state < Step::states; state++) std::swap(carried[state], before[state]);
    }
    for (int state = 0; state < Step::states; state++)
      for (int64_t row = 0; row < rows; row++)
        std::memcpy(a.initial_gradients[state] + global(row) * width(state), &carried[state][row * width(state)],
                    width(state) * sizeof(Scalar));
    clear_padding(a.input_gradients, a.gate_stride, Step::gates * a.units);
    if (!Step::additive) clear_padding(a.recurrent_gradients, a.gate_stride, Step::gates * a.units);
    if (Step::projected) clear_padding(a.product_gradients, a.recurrent, a.recurrent);
  }

  void backward_step(int64_t row, int64_t t, Rows& gates, Values* carried, Values* before, const Scalar* unprojected) {
    Row<Scalar, Stored> r = row_at(row, t);
    for (int state = 0; state < Step::states; state++) {
      r.gradients[state] = &carried[state][row * width(state)];
      r.state_gradients[state] = &before[state][row * width(state)];
    }
    if (Step::projected) r.gradients[0] = unprojected;
    r.scratch_gradients = gates.middle(row);
    r.input_gradients = a.input_gradients + frame(row, t) * a.gate_stride;
    if (!Step::additive) r.recurrent_gradients = a.recurrent_gradients + frame(row, t) * a.gate_stride;
    r.weight_gradients = a.weight_gradients + (utterance(row) * Step::weights * a.bands + row % a.bands) * a.units;
    backward_row<0>(r);
  }
};

// ---- The whole layer

// Run `number` parts of work on as many threads as there may be.
template <class Run>
void share_out(int64_t number, int64_t num_threads, Run run) {
  if (num_threads > number) num_threads = number;
  std::vector<std::thread> others;
  auto some = [&](int64_t thread) {
    for (int64_t part = thread; part < number; part += num_threads) run(part);
  };
  for (int64_t thread = 1; thread < num_threads; thread++) others.emplace_back(some, thread);
  if (num_threads > 0) some(0);
  for (auto& other : others) other.join();
}

template <class Stored>
struct Weights {
  Panels<Factor<Stored>> recurrent, projection;
};

template <class Scalar, class Stored>
Weights<Stored> forward_weights(const Arguments<Scalar, Stored>& a) {
#if defined(BYTES)
  const auto* bytes = reinterpret_cast<const int8_t*>(a.recurrent_weight);
  return {{a.recurrent, Step::gates * a.units, bytes, a.projection}, {0, 0, nullptr, nullptr}};
#else
  const int64_t depth = a.taps * a.recurrent;
  return {
      {a.taps, a.recurrent, Step::gates * a.units,
       [&](int64_t tap, int64_t k, int64_t j) { return a.recurrent_weight[j * depth + tap * a.recurrent + k]; }},
      {Step::projected, Step::projected ? a.units : 1, Step::projected ? a.recurrent : 0,
       [&](int64_t, int64_t k, int64_t j) { return a.projection[j * a.units + k]; }},
  };
#endif
}

#if !defined(BYTES)
// The gradient of h[t-1] gathers from the bands that it gave to: the same convolution with the taps turned round.
template <class Scalar, class Stored>
Weights<Stored> backward_weights(const Arguments<Scalar, Stored>& a) {
  const int64_t depth = a.taps * a.recurrent;
  return {
      {a.taps, Step::gates * a.units, a.recurrent,
       [&](int64_t tap, int64_t k, int64_t j) {
         return a.recurrent_weight[k * depth + (a.taps - 1 - tap) * a.recurrent + j];
       }},
      {Step::projected, Step::projected ? a.recurrent : 1, Step::projected ? a.units : 0,
       [&](int64_t, int64_t k, int64_t j) { return a.projection[k * a.units + j]; }},
  };
}
#endif

// One direction or both; with one thread, one after the other, so that each one's weights stay in the cache.
template <class Scalar, class Stored, class Pack, class Run>
void run(const Arguments<Scalar, Stored>* directions, int64_t count, int64_t threads, Pack pack, Run run_part) {
  std::vector<Weights<Stored>> weights;
  for (int64_t d = 0; d < count; d++) weights.push_back(pack(directions[d]));
  const int64_t batch = directions[0].batch;
  const int64_t parts = std::min(std::max<int64_t>(1, threads / count), batch);
  share_out(count * parts, threads, [&](int64_t job) {
    const int64_t d = job / parts, part = job % parts;
    const int64_t first = batch * part / parts, end = batch * (part + 1) / parts;
    [[maybe_unused]] const Tiles tiles;
    Part<Scalar, Stored> utterances(directions[d], first, end - first);
    run_part(utterances, weights[d]);
  });
}

// result [m, n], zeros at first, += left.T @ right over [row, m] and [row, n]; sizes: rows, m, n and both strides.
template <class Scalar>
void add_outer_product(const Scalar* left, const Scalar* right, Scalar* result, const int64_t* sizes, int64_t threads) {
  constexpr int64_t width = OuterProduct<Scalar>::kWidth;
  const int64_t rows = sizes[0], m = sizes[1], n = sizes[2], num_panels = (n + width - 1) / width;
  const OuterProduct<Scalar> product{m, n, sizes[3], sizes[4], left, right, result};
  share_out(threads, threads, [&](int64_t number) {
    const int64_t begin = num_panels * number / threads * width, end = num_panels * (number + 1) / threads * width;
    product.run(rows, begin, std::min(end, n));
  });
}

#if defined(_WIN32)
#define EXPORT __declspec(dllexport)
#else
#define EXPORT
#endif

extern "C" {
EXPORT void forward(const Arguments<SCALAR, STORED>* directions, int64_t count, int64_t threads) {
  run(directions, count, threads, forward_weights<SCALAR, STORED>,
      [](auto& part, const auto& weights) { part.forward(weights.recurrent, weights.projection); });
}
#if !defined(BYTES)
EXPORT void backward(const Arguments<SCALAR, STORED>* directions, int64_t count, int64_t threads) {
  run(directions, count, threads, backward_weights<SCALAR, STORED>,
      [](auto& part, const auto& weights) { part.backward(weights.recurrent, weights.projection); });
}
#endif
#if !defined(HALVES) && !defined(BYTES)
EXPORT void outer_product(const SCALAR* left, const SCALAR* right, SCALAR* result, const int64_t* sizes,
                          int64_t threads) {
  add_outer_product(left, right, result, sizes, threads);
}
#endif
}
