# type: ignore
# ruff: noqa: RUF005
"""Runs a layer over all time in Triton: one kernel forwards and one backwards; here with the step of the LSTM.

Each program keeps a block of units for some utterances of one direction, and its share of the recurrent weights in
registers. After every step the programs of the same utterances meet at a counter, because each needs all units of
h[t-1] (forwards) or of the gates' gradients (backwards). What one step must wait for is kept short: only what the
others need is stored before the meeting, and what the next step reads from memory is asked for before it too. The
recurrent product is cut in pieces of its inner dimension, one for each warp, and these are summed. A mean over the
units, for layer normalisation, costs a meeting of its own. With one program there is nobody to meet, which is how the
tests run the kernels in Triton's interpreter.

Nobody imports this file. asr/model/scan/gpu/source.py puts another cell's step between the two marks, and Triton reads
the result from the user's cache. Tensors have direction, time and utterance first; [row, slot, unit] is one frame of
them. `kind` is the type of states and sums, and the gates and weights may be in half of it.
"""

import triton
import triton.language as tl


@triton.jit
def arrive(counter):
    tl.debug_barrier()
    tl.atomic_add(counter, 1, sem="release")


@triton.jit
def wait(counter, arrivals):
    while tl.atomic_add(counter, 0, sem="acquire") < arrivals:
        pass
    tl.debug_barrier()


@triton.jit
def mean_of_all(
    share, mine, partial, counter, meetings,
    BATCH: tl.constexpr, UNITS: tl.constexpr, PROGRAMS: tl.constexpr, COLUMNS: tl.constexpr,
):  # fmt: skip
    total = tl.sum(tl.where(mine, share, 0.0), axis=1)
    if PROGRAMS > 1:
        rows = tl.arange(0, BATCH)
        tl.store(partial + tl.program_id(0) * BATCH + rows, total)
        arrive(counter)
        wait(counter, meetings * PROGRAMS)
        column = tl.arange(0, COLUMNS)[:, None]
        parts = tl.load(
            partial + column * BATCH + rows[None, :], mask=column < PROGRAMS, other=0.0, cache_modifier=".cg"
        )
        total = tl.sum(parts, axis=0)
    return (total / UNITS)[:, None]


# ---- The step, which source.py writes anew for each cell
# fmt: off


@triton.jit
def forward_step(
    inputs, recurrent, state, weights, noise, zeros, mine, partial, counter, meetings,
    BATCH: tl.constexpr, UNITS: tl.constexpr, PROGRAMS: tl.constexpr, COLUMNS: tl.constexpr,
):
    v10 = inputs[0] + recurrent[0]
    v11 = inputs[1] + recurrent[1]
    v12 = inputs[2] + recurrent[2]
    v13 = inputs[3] + recurrent[3]
    v14 = tl.sigmoid(v10)
    v15 = tl.sigmoid(v11)
    v16 = tl.sigmoid(v13)
    v17 = state[1] * v15
    v18 = 2.0 * tl.sigmoid(2.0 * v12) - 1.0
    v19 = v14 * v18
    v20 = v17 + v19
    v21 = 2.0 * tl.sigmoid(2.0 * v20) - 1.0
    v22 = v16 * v21
    return (v22, v20,), (v14 + zeros, v15 + zeros, v16 + zeros, v18 + zeros, v21 + zeros,)


@triton.jit
def backward_step(
    saved, state, weights, noise, gradients, zeros, mine, partial, counter, meetings,
    BATCH: tl.constexpr, UNITS: tl.constexpr, PROGRAMS: tl.constexpr, COLUMNS: tl.constexpr,
):
    v27 = saved[4] * saved[4]
    v29 = 1.0 - v27
    v30 = saved[2] * v29
    v31 = gradients[0] * v30
    v32 = gradients[1] + v31
    v35 = saved[3] * saved[3]
    v36 = 1.0 - v35
    v37 = saved[0] * v36
    v38 = v32 * v37
    v39 = saved[1] * v32
    v41 = 1.0 - saved[2]
    v42 = saved[2] * v41
    v43 = saved[4] * v42
    v44 = gradients[0] * v43
    v45 = 1.0 - saved[1]
    v46 = saved[1] * v45
    v47 = state[1] * v46
    v48 = v32 * v47
    v49 = 1.0 - saved[0]
    v50 = saved[0] * v49
    v51 = saved[3] * v50
    v52 = v32 * v51
    of_inputs = (v52 + zeros, v48 + zeros, v38 + zeros, v44 + zeros,)
    of_products = (v52 + zeros, v48 + zeros, v38 + zeros, v44 + zeros,)
    of_states = (0.0 + zeros, v39 + zeros,)
    return of_inputs, of_products, of_states, ()


# fmt: on
# ---- The end of the step


@triton.jit
def load_slots(base, t, time, frame, row, unit, mine, zeros, UNITS: tl.constexpr, SLOTS: tl.constexpr):
    """Loads what one step reads of [time, row, slot, unit]; past either end there is nothing to read."""
    found = ()
    for slot in tl.static_range(SLOTS):
        place = t * frame * SLOTS + (row * SLOTS + slot) * UNITS + unit
        found = found + (tl.load(base + place, mask=mine & (t >= 0) & (t < time), other=0.0).to(zeros.dtype),)
    return found


@triton.jit
def store_slots(base, values, t, frame, row, unit, mine, UNITS: tl.constexpr, SLOTS: tl.constexpr):
    for slot in tl.static_range(SLOTS):
        tl.store(base + t * frame * SLOTS + (row * SLOTS + slot) * UNITS + unit, values[slot], mask=mine)


@triton.jit
def load_recurrent_weights(base, outer, inner, known, UNITS: tl.constexpr, GATES: tl.constexpr):
    """Loads this program's share of each gate's weights, kept for all steps."""
    found = ()
    for gate in tl.static_range(GATES):
        found = found + (tl.load(base + (gate * UNITS + outer) * UNITS + inner, mask=known, other=0.0),)
    return found


@triton.jit
def load_unit_weights(base, row, unit, mine, UNITS: tl.constexpr, WEIGHTS: tl.constexpr):
    """Loads peepholes and the like, which stay the same at every step."""
    found = ()
    for number in tl.static_range(WEIGHTS):
        found = found + (tl.load(base + number * UNITS + unit + 0 * row, mask=mine, other=0.0),)
    return found


@triton.jit
def own_places(first, batch, BATCH: tl.constexpr, UNITS: tl.constexpr, BLOCK: tl.constexpr):
    """Returns this program's rows and units, which of them there are, and their places in [row, unit]."""
    row = first + tl.arange(0, BATCH)[:, None]
    unit = (tl.program_id(0) * BLOCK + tl.arange(0, BLOCK))[None, :]
    return row, unit, (row < batch) & (unit < UNITS), row * UNITS + unit


@triton.jit
def places_of_product(
    first, batch, BATCH: tl.constexpr, UNITS: tl.constexpr, BLOCK: tl.constexpr, SPLITS: tl.constexpr,
    INNER: tl.constexpr,
):  # fmt: skip
    """Returns the factors' places: [split, row, inner] of a state or gradient, [split, inner, unit] of the weights."""
    split = tl.arange(0, SPLITS)[:, None, None] * INNER
    rows = first + tl.arange(0, BATCH)[None, :, None]
    inner = split + tl.arange(0, INNER)[None, None, :]
    inners = split + tl.arange(0, INNER)[None, :, None]
    units = (tl.program_id(0) * BLOCK + tl.arange(0, BLOCK))[None, None, :]
    return rows, inner, (rows < batch) & (inner < UNITS), inners, units, (inners < UNITS) & (units < UNITS)


# None of these numbers is worth a kernel of its own.
@triton.jit(do_not_specialize=["batch", "time", "chunks"])
def forward_kernel(
    recurrent_weight, weight, noise, mask, state0, state1, halves, saved, counter, partial, inputs, batch, time, chunks,
    GATES: tl.constexpr, STATES: tl.constexpr, WEIGHTS: tl.constexpr, NOISE: tl.constexpr, SAVED: tl.constexpr,
    MEANS: tl.constexpr, BATCH: tl.constexpr, UNITS: tl.constexpr, BLOCK: tl.constexpr, SPLITS: tl.constexpr,
    INNER: tl.constexpr, PROGRAMS: tl.constexpr, COLUMNS: tl.constexpr, MASKED: tl.constexpr, PRECISION: tl.constexpr,
):  # fmt: skip
    chunk = tl.program_id(1)
    direction = (chunk // chunks).to(tl.int64)
    first = chunk % chunks * BATCH
    frame = tl.cast(batch * UNITS, tl.int64)
    row, unit, mine, at = own_places(first, batch, BATCH, UNITS, BLOCK)
    rows, inner, given, inners, units, known = places_of_product(first, batch, BATCH, UNITS, BLOCK, SPLITS, INNER)
    half = recurrent_weight.dtype.element_ty
    zeros = tl.zeros((BATCH, BLOCK), dtype=state0.dtype.element_ty)
    counter += chunk
    partial += chunk * MEANS * PROGRAMS * BATCH
    saved += direction * time * frame * SAVED
    inputs += direction * time * frame * GATES
    noise += direction * time * frame * NOISE
    halves += direction * (time + 1) * frame
    state0 += direction * (time + 1) * frame
    state1 += direction * (time + 1) * frame
    recurrent_weight += direction * GATES * UNITS * UNITS
    recurrent_weights = load_recurrent_weights(recurrent_weight, units, inners, known, UNITS, GATES)
    unit_weights = load_unit_weights(weight + direction * WEIGHTS * UNITS, row, unit, mine, UNITS, WEIGHTS)
    if MASKED:
        masks = tl.load(mask + direction * frame + rows * UNITS + inner, mask=given, other=0.0)
    old0, old1 = tl.load(state0 + at, mask=mine, other=0.0), zeros
    if STATES > 1:
        old1 = tl.load(state1 + at, mask=mine, other=0.0)
    t = 0
    gates = load_slots(inputs, t, time, frame, row, unit, mine, zeros, UNITS, GATES)
    keep = load_slots(noise, t, time, frame, row, unit, mine, zeros, UNITS, NOISE)
    while t < time:
        hidden = tl.load(halves + t * frame + rows * UNITS + inner, mask=given, other=0.0, cache_modifier=".cg")
        if MASKED:
            hidden = (hidden.to(zeros.dtype) * masks).to(half)
        products = ()
        for gate in tl.static_range(GATES):
            product = tl.dot(hidden, recurrent_weights[gate], input_precision=PRECISION)
            products = products + (tl.sum(product, axis=0).to(zeros.dtype),)
        state, kept = forward_step(
            gates, products, (old0, old1), unit_weights, keep, zeros, mine, partial, counter, t * (1 + MEANS),
            BATCH, UNITS, PROGRAMS, COLUMNS,
        )  # fmt: skip
        old0 = state[0]
        tl.store(halves + (t + 1) * frame + at, old0.to(half), mask=mine)
        if PROGRAMS > 1:
            arrive(counter)
        tl.store(state0 + (t + 1) * frame + at, old0, mask=mine)
        if STATES > 1:
            old1 = state[1]
            tl.store(state1 + (t + 1) * frame + at, old1, mask=mine)
        store_slots(saved, kept, t, frame, row, unit, mine, UNITS, SAVED)
        t += 1
        gates = load_slots(inputs, t, time, frame, row, unit, mine, zeros, UNITS, GATES)
        keep = load_slots(noise, t, time, frame, row, unit, mine, zeros, UNITS, NOISE)
        if PROGRAMS > 1:
            wait(counter, t * (1 + MEANS) * PROGRAMS)


@triton.jit(do_not_specialize=["batch", "time", "chunks"])
def backward_kernel(
    recurrent_weight, weight, noise, mask, state0, state1, halves, saved, counter, partial, output_gradient, carried0,
    carried1, input_gradient, recurrent_gradient, weight_gradient, batch, time, chunks,
    GATES: tl.constexpr, STATES: tl.constexpr, WEIGHTS: tl.constexpr, NOISE: tl.constexpr, SAVED: tl.constexpr,
    MEANS: tl.constexpr, ADDITIVE: tl.constexpr, BATCH: tl.constexpr, UNITS: tl.constexpr, BLOCK: tl.constexpr,
    SPLITS: tl.constexpr, INNER: tl.constexpr, PROGRAMS: tl.constexpr, COLUMNS: tl.constexpr, MASKED: tl.constexpr,
    PRECISION: tl.constexpr,
):  # fmt: skip
    chunk = tl.program_id(1)
    direction = (chunk // chunks).to(tl.int64)
    first = chunk % chunks * BATCH
    frame = tl.cast(batch * UNITS, tl.int64)
    row, unit, mine, at = own_places(first, batch, BATCH, UNITS, BLOCK)
    rows, inner, given, inners, units, known = places_of_product(first, batch, BATCH, UNITS, BLOCK, SPLITS, INNER)
    zeros = tl.zeros((BATCH, BLOCK), dtype=state0.dtype.element_ty)
    counter += chunk
    partial += chunk * MEANS * PROGRAMS * BATCH
    saved += direction * time * frame * SAVED
    noise += direction * time * frame * NOISE
    input_gradient += direction * time * frame * GATES
    recurrent_gradient += direction * time * frame * GATES
    output_gradient += direction * time * frame
    weight_gradient += direction * frame * WEIGHTS
    state0 += direction * (time + 1) * frame
    state1 += direction * (time + 1) * frame
    recurrent_weight += direction * GATES * UNITS * UNITS
    recurrent_weights = load_recurrent_weights(recurrent_weight, inners, units, known, UNITS, GATES)
    unit_weights = load_unit_weights(weight + direction * WEIGHTS * UNITS, row, unit, mine, UNITS, WEIGHTS)
    passing = zeros + 1.0
    if MASKED:
        passing = tl.load(mask + direction * frame + at, mask=mine, other=0.0)
    carried0 += direction * frame + at
    carried1 += direction * frame + at
    gradient0, gradient1 = tl.load(carried0, mask=mine, other=0.0), zeros
    if STATES > 1:
        gradient1 = tl.load(carried1, mask=mine, other=0.0)
    totals = ()
    for _ in tl.static_range(WEIGHTS):
        totals = totals + (zeros,)
    t = time - 1
    kept, old, keep, given_gradient = read_backward(
        saved, state0, state1, noise, output_gradient, t, time, frame, row, unit, mine, zeros, UNITS, SAVED, STATES,
        NOISE,
    )  # fmt: skip
    while t >= 0:
        of_inputs, of_products, of_states, of_weights = backward_step(
            kept, old, unit_weights, keep, (gradient0 + given_gradient, gradient1), zeros, mine, partial, counter,
            (time - 1 - t) * (1 + MEANS), BATCH, UNITS, PROGRAMS, COLUMNS,
        )  # fmt: skip
        if not ADDITIVE:
            store_slots(recurrent_gradient, of_products, t, frame, row, unit, mine, UNITS, GATES)
            if PROGRAMS > 1:
                arrive(counter)
        store_slots(input_gradient, of_inputs, t, frame, row, unit, mine, UNITS, GATES)
        if ADDITIVE and PROGRAMS > 1:
            arrive(counter)
        totals = add_all(totals, of_weights, WEIGHTS)
        gradient0 = of_states[0]
        if STATES > 1:
            gradient1 = of_states[1]
        now = t
        t -= 1
        kept, old, keep, given_gradient = read_backward(
            saved, state0, state1, noise, output_gradient, t, time, frame, row, unit, mine, zeros, UNITS, SAVED, STATES,
            NOISE,
        )  # fmt: skip
        if PROGRAMS > 1:
            wait(counter, (time - now) * (1 + MEANS) * PROGRAMS)
        passed = tl.zeros((SPLITS, BATCH, BLOCK), dtype=tl.float32)
        source = input_gradient if ADDITIVE else recurrent_gradient
        for gate in tl.static_range(GATES):
            where = source + now * frame * GATES + (rows * GATES + gate) * UNITS + inner
            gates = tl.load(where, mask=given, other=0.0, cache_modifier=".cg")
            passed += tl.dot(gates, recurrent_weights[gate], input_precision=PRECISION)
        gradient0 += tl.sum(passed, axis=0).to(zeros.dtype) * passing
    tl.store(carried0, gradient0, mask=mine)
    if STATES > 1:
        tl.store(carried1, gradient1, mask=mine)
    for number in tl.static_range(WEIGHTS):
        tl.store(weight_gradient + (row * WEIGHTS + number) * UNITS + unit, totals[number], mask=mine)


@triton.jit
def add_all(totals, values, COUNT: tl.constexpr):
    found = ()
    for number in tl.static_range(COUNT):
        found = found + (totals[number] + values[number],)
    return found


@triton.jit
def read_backward(
    saved, state0, state1, noise, output_gradient, t, time, frame, row, unit, mine, zeros,
    UNITS: tl.constexpr, SAVED: tl.constexpr, STATES: tl.constexpr, NOISE: tl.constexpr,
):  # fmt: skip
    """Loads what a step backwards reads: what was saved, the states before it, noise, its output's gradient."""
    there = mine & (t >= 0) & (t < time)
    kept = load_slots(saved, t, time, frame, row, unit, mine, zeros, UNITS, SAVED)
    old0, old1 = tl.load(state0 + t * frame + row * UNITS + unit, mask=there, other=0.0).to(zeros.dtype), zeros
    if STATES > 1:
        old1 = tl.load(state1 + t * frame + row * UNITS + unit, mask=there, other=0.0).to(zeros.dtype)
    keep = load_slots(noise, t, time, frame, row, unit, mine, zeros, UNITS, NOISE)
    given = tl.load(output_gradient + t * frame + row * UNITS + unit, mask=mine & (t >= 0), other=0.0)
    return kept, (old0, old1), keep, given
