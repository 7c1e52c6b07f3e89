// Runs the kernel of one cell on one case of tests/programs/arm64_cases.py and compares with the reference's results.

#include <cstdio>
#include <cstdlib>

#include "kernel.cpp"

using Values = std::vector<SCALAR>;

Values read_array(std::FILE* file) {
  int64_t size = 0;
  if (std::fread(&size, sizeof size, 1, file) != 1) std::exit(3);
  Values values(size);
  if (std::fread(values.data(), sizeof(SCALAR), size, file) != static_cast<size_t>(size)) std::exit(3);
  return values;
}

// The largest difference over the norm of what is expected, or a failure.
double worst = 0;
void compare(const char* name, const Values& found, const Values& expected) {
  if (expected.empty()) return;
  double difference = 0, size = 0;
  for (size_t i = 0; i < expected.size(); i++) {
    difference += (found[i] - expected[i]) * static_cast<double>(found[i] - expected[i]);
    size += expected[i] * static_cast<double>(expected[i]);
  }
  const double ratio = std::sqrt(difference / size);
  worst = std::max(worst, ratio);
  if (!(ratio <= (sizeof(SCALAR) == 4 ? 2e-5 : 1e-10)) || found.size() != expected.size()) {
    std::printf("%s differ by %g of their size\n", name, ratio);
    std::exit(1);
  }
}

int main(int, char** arguments) {
  std::FILE* file = std::fopen(arguments[1], "rb");
  int64_t size[6];
  if (file == nullptr || std::fread(size, sizeof size, 1, file) != 1) return 3;
  const int64_t batch = size[0], time = size[1], bands = size[2], units = size[3], recurrent = size[4];
  Values gates = read_array(file), weight = read_array(file), weights = read_array(file), projection = read_array(file);
  Values state[2] = {read_array(file), read_array(file)}, output_gradients = read_array(file);
  const Values outputs = read_array(file), of_gates = read_array(file), of_weights = read_array(file);
  const Values of_recurrent_weight = read_array(file), of_first = read_array(file), of_second = read_array(file);

  const int64_t frames = batch * time * bands, of_frame = Step::gates * units;
  Values hidden(frames * recurrent), inner(frames * units), unprojected(frames * units);
  Values saved(frames * units * at_least_one(Step::saved)), saved_for_row(frames * at_least_one(Step::saved_for_row));
  Values zeros[2] = {Values(state[0].size()), Values(state[1].size())}, initial[2] = {zeros[0], zeros[1]};
  Values input_gradients(gates.size()), recurrent_gradients(gates.size()), product_gradients(hidden.size());
  Values weight_gradients(batch * weights.size());
  Arguments<SCALAR, STORED> a = {};
  a.batch = batch, a.time = time, a.bands = bands, a.units = units, a.recurrent = recurrent, a.taps = size[5];
  a.training = 1, a.gate_stride = of_frame, a.output_stride = recurrent;
  a.inputs = gates.data(), a.recurrent_weight = weight.data(), a.weights = weights.data();
  a.projection = projection.data(), a.unprojected = unprojected.data();
  a.states[0] = hidden.data(), a.states[1] = inner.data();
  a.saved = saved.data(), a.saved_for_row = saved_for_row.data(), a.output_gradients = output_gradients.data();
  for (int s = 0; s < 2; s++) {
    a.initial[s] = state[s].data(), a.last_gradients[s] = zeros[s].data(), a.initial_gradients[s] = initial[s].data();
  }
  a.input_gradients = input_gradients.data(), a.product_gradients = product_gradients.data();
  a.recurrent_gradients = Step::additive ? input_gradients.data() : recurrent_gradients.data();
  a.weight_gradients = weight_gradients.data();
  forward(&a, 1, 2);
  compare("outputs", hidden, outputs);
  backward(&a, 1, 2);
  compare("gradients of gates", input_gradients, of_gates);
  compare("gradients of the first state", initial[0], of_first);
  compare("gradients of the second state", initial[1], of_second);
  Values total(weights.size());
  for (size_t i = 0; i < weight_gradients.size(); i++) total[i % weights.size()] += weight_gradients[i];
  compare("gradients of weights", total, of_weights);
  if (!of_recurrent_weight.empty()) {  // of one band: the product with each step's output of the step before
    Values before(hidden.size()), result(of_recurrent_weight.size());
    for (int64_t u = 0; u < batch; u++) {
      std::copy_n(&state[0][u * recurrent], recurrent, &before[u * time * recurrent]);
      std::copy_n(&hidden[u * time * recurrent], (time - 1) * recurrent, &before[(u * time + 1) * recurrent]);
    }
    const int64_t sizes[5] = {frames, of_frame, recurrent, of_frame, recurrent};
    outer_product(a.recurrent_gradients, before.data(), result.data(), sizes, 2);
    compare("gradients of recurrent weights", result, of_recurrent_weight);
  }
  std::printf("right, to %.1e of the size; vectors of %d bytes\n", worst, kVectorBytes);
}
