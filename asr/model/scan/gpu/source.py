"""A traced step as a Triton module: one kernel forwards and one backwards, over all time.

Each program keeps a block of units for some utterances of one direction, and its share of the recurrent weights in
registers. After every step the programs of the same utterances meet at a counter, because each needs all units of
h[t-1] (forwards) or of the gates' gradients (backwards). What one step must wait for is kept short: only what the
others need is stored before the meeting, and what the next step reads from memory is asked for before it too. The
recurrent product is cut in pieces of its inner dimension, one for each warp, and these are summed. A mean over the
units, for layer normalisation, costs a meeting of its own. With one program there is nobody to meet, which is how the
tests run the kernels in Triton's interpreter.
"""

from collections.abc import Iterable

from asr.model.scan.step import Program, Symbol, reachable

EXPRESSIONS = {
    "add": "{0} + {1}",
    "subtract": "{0} - {1}",
    "multiply": "{0} * {1}",
    "sigmoid": "tl.sigmoid({0})",
    "tanh": "2.0 * tl.sigmoid(2.0 * {0}) - 1.0",
    "relu": "tl.where({0} < 0.0, 0.0, {0})",  # lets a NaN through
    "positive": "tl.where({0} > 0.0, 1.0, 0.0)",
    "rsqrt": "tl.rsqrt({0})",
}
# [split, row, inner] is h[t-1] or a gate's gradient, [split, inner, unit] the weights.
HEAD = """import triton
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
):
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


# None of these numbers is worth a kernel of its own.
@triton.jit(do_not_specialize=["batch", "time", "chunks"])
def {name}(
    {pointers}, batch, time, chunks,
    BATCH: tl.constexpr, UNITS: tl.constexpr, BLOCK: tl.constexpr, SPLITS: tl.constexpr,
    INNER: tl.constexpr, PROGRAMS: tl.constexpr, COLUMNS: tl.constexpr, MASKED: tl.constexpr, PRECISION: tl.constexpr,
):
    chunk = tl.program_id(1)
    direction = (chunk // chunks).to(tl.int64)
    first = chunk % chunks * BATCH
    counter += chunk
    partial += chunk * {num_means} * PROGRAMS * BATCH
    row = first + tl.arange(0, BATCH)[:, None]
    unit = (tl.program_id(0) * BLOCK + tl.arange(0, BLOCK))[None, :]
    mine = (row < batch) & (unit < UNITS)
    at = row * UNITS + unit  # in [batch, unit]
    frame = tl.cast(batch * UNITS, tl.int64)
    split = tl.arange(0, SPLITS)[:, None, None] * INNER
    rows = first + tl.arange(0, BATCH)[None, :, None]
    inner = split + tl.arange(0, INNER)[None, None, :]
    given = (rows < batch) & (inner < UNITS)
    place = rows * UNITS + inner
    inners = split + tl.arange(0, INNER)[None, :, None]
    units = (tl.program_id(0) * BLOCK + tl.arange(0, BLOCK))[None, None, :]
    known = (inners < UNITS) & (units < UNITS)
    kind = state0.dtype.element_ty
    half = recurrent_weight.dtype.element_ty
    zeros = tl.zeros((BATCH, BLOCK), dtype=kind)
    mask += direction * frame
    recurrent_weight += direction * {num_gates} * UNITS * UNITS
    weight += direction * {num_weights} * UNITS
    noise += direction * time * frame * {num_noise}
    saved += direction * time * frame * {num_saved}
"""
ONE, TWO = "    ", "        "

SHARED_POINTERS = (
    "recurrent_weight", "weight", "noise", "mask", "state0", "state1", "halves", "saved", "counter", "partial",
)  # fmt: skip
FORWARD_POINTERS = (*SHARED_POINTERS, "inputs")
BACKWARD_POINTERS = (
    *SHARED_POINTERS, "output_gradient", "carried0", "carried1", "input_gradient", "recurrent_gradient",
    "weight_gradient",
)  # fmt: skip


def kernel_source(program: Program, direction: str) -> str:
    """The Triton module of one direction; the program's step must not be projected."""
    body = forward_body(program) if direction == "forward" else backward_body(program)
    pointers = FORWARD_POINTERS if direction == "forward" else BACKWARD_POINTERS
    head = HEAD.format(
        name=f"{direction}_kernel", pointers=", ".join(pointers), num_gates=program.form.num_gates,
        num_weights=program.form.num_weights, num_noise=program.num_noise, num_saved=len(program.saved),
        num_means=count_means(program, direction),
    )  # fmt: skip
    return head + "\n".join([*body, ""])


def symbols_of(program: Program, direction: str) -> list[Symbol]:
    """What a step computes or reads, from the leaves on."""
    if direction == "forward":
        return needed([*program.next_state, *program.saved], frozenset())
    return needed(program.gradients, frozenset(program.saved))


def count_means(program: Program, direction: str) -> int:
    stored = () if direction == "forward" else program.saved
    return sum(s.operation == "mean" and s not in stored for s in symbols_of(program, direction))


def forward_body(program: Program) -> list[str]:
    form = program.form
    gates, states = range(form.num_gates), range(form.num_states)
    symbols, num_meetings = symbols_of(program, "forward"), 1 + count_means(program, "forward")
    fetched = [symbol for symbol in symbols if symbol.operation in ("input", "noise")]
    lines = [
        f"{ONE}inputs += direction * time * frame * {form.num_gates}",
        f"{ONE}halves += direction * (time + 1) * frame",
    ]
    lines += [f"{ONE}state{n} += direction * (time + 1) * frame" for n in states]
    lines += recurrent_weights(form.num_gates, "units", "inners") + masks() + unit_weights(symbols)
    lines += [f"{ONE}old{n} = tl.load(state{n} + at, mask=mine, other=0.0)" for n in states]
    lines += [f"{ONE}t = 0", *fetch(program, fetched, {}, ONE), f"{ONE}while t < time:"]
    lines += [
        f'{TWO}hidden = tl.load(halves + t * frame + place, mask=given, other=0.0, cache_modifier=".cg")',
        f"{TWO}if MASKED:",
        f"{TWO}    hidden = (hidden.to(kind) * masks).to(half)",
    ]
    for gate in gates:
        dot = f"tl.dot(hidden, weights{gate}, input_precision=PRECISION)"
        lines.append(f"{TWO}recurrent{gate} = tl.sum({dot}, axis=0).to(kind)")
    lines += [f"{TWO}{value(s)} = old{int(s.value)}" for s in symbols if s.operation == "state"]
    lines += statements(symbols, f"t * {num_meetings}")
    lines += [f"{TWO}old{n} = {value(symbol)}" for n, symbol in enumerate(program.next_state)]
    lines += [
        f"{TWO}tl.store(halves + (t + 1) * frame + at, old0.to(half), mask=mine)",
        f"{TWO}if PROGRAMS > 1:",
        f"{TWO}    arrive(counter)",
    ]
    lines += [f"{TWO}tl.store(state{n} + (t + 1) * frame + at, old{n}, mask=mine)" for n in states]
    for number, symbol in enumerate(program.saved):
        lines.append(
            f"{TWO}tl.store(saved + {slot_place(len(program.saved), number)}, {value(symbol)} + zeros, mask=mine)"
        )
    lines += [f"{TWO}t += 1", *fetch(program, fetched, {}, TWO)]
    return [*lines, f"{TWO}if PROGRAMS > 1:", f"{TWO}    wait(counter, t * {num_meetings} * PROGRAMS)"]


def backward_body(program: Program) -> list[str]:
    form = program.form
    gates, states = range(form.num_gates), range(form.num_states)
    stored = {symbol: number for number, symbol in enumerate(program.saved)}
    symbols, num_meetings = symbols_of(program, "backward"), 1 + count_means(program, "backward")
    fetched = [s for s in symbols if s in stored or s.operation in ("state", "noise")]
    source = "input_gradient" if program.additive else "recurrent_gradient"
    lines = [f"{ONE}input_gradient += direction * time * frame * {form.num_gates}"]
    if not program.additive:
        lines.append(f"{ONE}recurrent_gradient += direction * time * frame * {form.num_gates}")
    lines += [f"{ONE}output_gradient += direction * time * frame"]
    lines += [f"{ONE}weight_gradient += direction * frame * {form.num_weights}"] * bool(form.num_weights)
    for n in states:
        lines += [f"{ONE}state{n} += direction * (time + 1) * frame", f"{ONE}carried{n} += direction * frame"]
    lines += recurrent_weights(form.num_gates, "inners", "units") + unit_weights(symbols)
    lines += [
        f"{ONE}passing = zeros + 1.0",
        f"{ONE}if MASKED:",
        f"{ONE}    passing = tl.load(mask + at, mask=mine, other=0.0)",
    ]
    lines += [f"{ONE}gradient{n} = tl.load(carried{n} + at, mask=mine, other=0.0)" for n in states]
    lines += [f"{ONE}weight_total{n} = zeros" for n in range(form.num_weights)]
    lines += [f"{ONE}t = time - 1", *fetch(program, fetched, stored, ONE)]
    given = "tl.load(output_gradient + t * frame + at, mask=mine & (t >= 0), other=0.0)"
    lines += [f"{ONE}given_gradient = {given}", f"{ONE}while t >= 0:", f"{TWO}gradient0 += given_gradient"]
    lines += statements([symbol for symbol in symbols if symbol not in stored], f"(time - 1 - t) * {num_meetings}")
    stores = [("input", program.input_gradients)]
    stores += [] if program.additive else [("recurrent", program.recurrent_gradients)]
    for kind, results in reversed(stores):
        for gate, symbol in enumerate(results):
            place = slot_place(form.num_gates, gate)
            lines.append(f"{TWO}tl.store({kind}_gradient + {place}, {value(symbol)} + zeros, mask=mine)")
        if f"{kind}_gradient" == source:
            lines += [f"{TWO}if PROGRAMS > 1:", f"{TWO}    arrive(counter)"]
    for number, symbol in enumerate(program.weight_gradients):
        lines.append(f"{TWO}weight_total{number} += {value(symbol)}")
    lines += [f"{TWO}gradient{n} = {value(symbol)} + zeros" for n, symbol in enumerate(program.state_gradients)]
    lines += [
        f"{TWO}now = t",
        f"{TWO}t -= 1",
        *fetch(program, fetched, stored, TWO),
        f"{TWO}given_gradient = {given}",
    ]
    lines += [f"{TWO}if PROGRAMS > 1:", f"{TWO}    wait(counter, (time - now) * {num_meetings} * PROGRAMS)"]
    lines += [f"{TWO}passed = tl.zeros((SPLITS, BATCH, BLOCK), dtype=tl.float32)"]
    for gate in gates:
        where = f"{source} + now * frame * {form.num_gates} + (rows * {form.num_gates} + {gate}) * UNITS + inner"
        lines += [
            f'{TWO}gates = tl.load({where}, mask=given, other=0.0, cache_modifier=".cg")',
            f"{TWO}passed += tl.dot(gates, weights{gate}, input_precision=PRECISION)",
        ]
    lines += [f"{TWO}gradient0 += tl.sum(passed, axis=0).to(kind) * passing"]
    lines += [f"{ONE}tl.store(carried{n} + at, gradient{n}, mask=mine)" for n in states]
    for number in range(form.num_weights):
        place = f"(row * {form.num_weights} + {number}) * UNITS + unit"
        lines.append(f"{ONE}tl.store(weight_gradient + {place}, weight_total{number}, mask=mine)")
    return lines


def recurrent_weights(num_gates: int, row: str, column: str) -> list[str]:
    """This program's share of each gate's weights, [split, inner, unit], kept for all steps."""
    return [
        f"{ONE}weights{gate} = tl.load(recurrent_weight + ({gate} * UNITS + {row}) * UNITS + {column}, "
        "mask=known, other=0.0)"
        for gate in range(num_gates)
    ]


def masks() -> list[str]:
    """Returns the lines that load the masks of variational dropout, for all of h[t-1]."""
    return [f"{ONE}if MASKED:", f"{ONE}    masks = tl.load(mask + place, mask=given, other=0.0)"]


def needed(ends: Iterable[Symbol], stored: frozenset[Symbol]) -> list[Symbol]:
    """The symbols that have a name of their own in the kernel, from the leaves to `ends`."""
    symbols = sorted(reachable(ends, stop=stored), key=lambda symbol: symbol.index)
    nameless = ("constant", "gradient")
    return [s for s in symbols if s.operation not in nameless and (s in stored or s.operation != "recurrent")]


def unit_weights(symbols: Iterable[Symbol]) -> list[str]:
    """Peepholes and the like, which stay the same at every step."""
    return [
        f"{ONE}{value(s)} = tl.load(weight + {int(s.value)} * UNITS + unit + 0 * row, mask=mine, other=0.0)"
        for s in symbols
        if s.operation == "weight"
    ]


def fetch(program: Program, symbols: Iterable[Symbol], stored: dict[Symbol, int], indent: str) -> list[str]:
    """Ask for what a step reads from memory; past either end there is nothing to read."""
    lines = []
    for symbol in symbols:
        number = int(symbol.value)
        if symbol in stored:
            where = f"saved + {slot_place(len(program.saved), stored[symbol])}"
        elif symbol.operation == "input":
            where = f"inputs + {slot_place(program.form.num_gates, number)}"
        elif symbol.operation == "noise":
            where = f"noise + {slot_place(program.num_noise, number)}"
        else:
            where = f"state{number} + t * frame + at"
        lines.append(
            f"{indent}{value(symbol)} = tl.load({where}, mask=mine & (t >= 0) & (t < time), other=0.0).to(kind)"
        )
    return lines


def statements(symbols: Iterable[Symbol], meetings: str) -> list[str]:
    """One assignment for each operation; `meetings` is how often the programs met in the steps before."""
    lines, num_means = [], 0
    for symbol in symbols:
        arguments = [value(argument) for argument in symbol.arguments]
        if symbol.operation == "mean":
            partial = f"partial + {num_means} * PROGRAMS * BATCH"
            num_means += 1
            lines.append(
                f"{TWO}{value(symbol)} = mean_of_all({arguments[0]} + zeros, mine, {partial}, counter, "
                f"{meetings} + {num_means}, BATCH, UNITS, PROGRAMS, COLUMNS)"
            )
        elif symbol.operation in EXPRESSIONS:
            lines.append(f"{TWO}{value(symbol)} = {EXPRESSIONS[symbol.operation].format(*arguments)}")
    return lines


def value(symbol: Symbol) -> str:
    """How a symbol is named in the kernel."""
    if symbol.operation == "constant":
        return repr(symbol.value)
    if symbol.operation in ("gradient", "recurrent"):
        return f"{symbol.operation}{int(symbol.value)}"
    return f"v{symbol.index}"


def slot_place(num_slots: int, slot: int) -> str:
    return f"t * frame * {num_slots} + (row * {num_slots} + {slot}) * UNITS + unit"
