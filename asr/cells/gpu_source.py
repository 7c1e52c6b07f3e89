"""A traced step as a Triton module: one kernel forwards and one backwards, over all time.

Each program keeps a block of units for the whole batch: their share of the recurrent weights, which its first-level
cache holds, and all their gates. After every step the programs meet at a counter, because each needs all units of
h[t-1] (forwards) or of the gates' gradients (backwards). With one program there is nobody to meet, which is how the
tests run the kernels in Triton's interpreter.
"""

from collections.abc import Iterable

from asr.cells.pointwise import Program, Symbol, reachable

EXPRESSIONS = {
    "add": "{0} + {1}",
    "subtract": "{0} - {1}",
    "multiply": "{0} * {1}",
    "sigmoid": "tl.sigmoid({0})",
    "tanh": "2.0 * tl.sigmoid(2.0 * {0}) - 1.0",
    "relu": "tl.where({0} < 0.0, 0.0, {0})",  # lets a NaN through
    "positive": "tl.where({0} > 0.0, 1.0, 0.0)",
}
HEAD = """import triton
import triton.language as tl


@triton.jit
def meet(counter, arrivals):
    tl.debug_barrier()
    tl.atomic_add(counter, 1, sem="release")
    while tl.atomic_add(counter, 0, sem="acquire") < arrivals:
        pass
    tl.debug_barrier()


@triton.jit
def {name}(
    {pointers}, batch, time,
    BATCH: tl.constexpr, UNITS: tl.constexpr, BLOCK: tl.constexpr, INNER: tl.constexpr,
    PROGRAMS: tl.constexpr, MASKED: tl.constexpr, PRECISION: tl.constexpr,
):
    row = tl.arange(0, BATCH)[:, None]
    unit = (tl.program_id(0) * BLOCK + tl.arange(0, BLOCK))[None, :]
    mine = (row < batch) & (unit < UNITS)
    at = row * UNITS + unit  # in [batch, unit]
"""
INDENT = "        "


def kernel_source(program: Program, direction: str) -> str:
    """The Triton module of one direction; the program's step must be elementwise and not projected."""
    body = forward_body(program) if direction == "forward" else backward_body(program)
    pointers = FORWARD_POINTERS if direction == "forward" else BACKWARD_POINTERS
    return HEAD.format(name=f"{direction}_kernel", pointers=", ".join(pointers)) + body


SHARED_POINTERS = ("recurrent_weight", "weight", "noise", "mask", "state0", "state1", "saved", "counter")
FORWARD_POINTERS = (*SHARED_POINTERS, "inputs")
BACKWARD_POINTERS = (
    *SHARED_POINTERS, "output_gradient", "carried0", "carried1", "input_gradient", "recurrent_gradient",
    "weight_gradient",
)  # fmt: skip


def forward_body(program: Program) -> str:
    form = program.form
    gates = range(form.num_gates)
    lines = ["    t = 0", "    while t < time:"]
    lines += [f"{INDENT}recurrent{gate} = tl.zeros((BATCH, BLOCK), dtype=state0.dtype.element_ty)" for gate in gates]
    lines += [
        f"{INDENT}for start in tl.static_range(0, UNITS, INNER):",
        f"{INDENT}    inner = start + tl.arange(0, INNER)",
        f"{INDENT}    given = (row < batch) & (inner[None, :] < UNITS)",
        f"{INDENT}    place = row * UNITS + inner[None, :]",
        f"{INDENT}    before = state0 + t * batch * UNITS",
        f'{INDENT}    hidden = tl.load(before + place, mask=given, other=0.0, cache_modifier=".cg")',
        f"{INDENT}    if MASKED:",
        f"{INDENT}        hidden = hidden * tl.load(mask + place, mask=given, other=0.0)",
        f"{INDENT}    hidden = hidden.to(recurrent_weight.dtype.element_ty)",
        f"{INDENT}    known = (inner[:, None] < UNITS) & (unit < UNITS)",
    ]
    for gate in gates:
        lines += [
            f"{INDENT}    part = tl.load(recurrent_weight + ({gate} * UNITS + unit) * UNITS + inner[:, None], "
            "mask=known, other=0.0)",
            f"{INDENT}    recurrent{gate} += tl.dot(hidden, part, input_precision=PRECISION)"
            ".to(state0.dtype.element_ty)",
        ]
    symbols = [*program.next_state, *program.saved]
    lines += statements(program, symbols, {})
    for number, symbol in enumerate(program.next_state):
        lines.append(f"{INDENT}tl.store(state{number} + (t + 1) * batch * UNITS + at, {value(symbol)}, mask=mine)")
    for number, symbol in enumerate(program.saved):
        place = slot_place(len(program.saved), number)
        lines.append(f"{INDENT}tl.store(saved + {place}, {value(symbol)}, mask=mine)")
    lines += [f"{INDENT}if PROGRAMS > 1:", f"{INDENT}    meet(counter, (t + 1) * PROGRAMS)", f"{INDENT}t += 1", ""]
    return "\n".join(lines)


def backward_body(program: Program) -> str:
    form = program.form
    states = range(form.num_states)
    zeros = "tl.zeros((BATCH, BLOCK), dtype=state0.dtype.element_ty)"
    lines = [f"    gradient{n} = tl.load(carried{n} + at, mask=mine, other=0.0)" for n in states]
    lines += [f"    weight_total{n} = {zeros}" for n in range(form.num_weights)]
    lines += [
        "    step = 0",
        "    while step < time:",
        f"{INDENT}t = time - 1 - step",
        f"{INDENT}gradient0 += tl.load(output_gradient + t * batch * UNITS + at, mask=mine, other=0.0)",
    ]
    lines += statements(program, program.gradients, {symbol: number for number, symbol in enumerate(program.saved)})
    stores = [("input", program.input_gradients)]
    stores += [] if program.additive else [("recurrent", program.recurrent_gradients)]
    for kind, symbols in stores:
        for gate, symbol in enumerate(symbols):
            place = slot_place(form.num_gates, gate)
            lines.append(f"{INDENT}tl.store({kind}_gradient + {place}, {value(symbol)} + {zeros}, mask=mine)")
    for number, symbol in enumerate(program.weight_gradients):
        lines.append(f"{INDENT}weight_total{number} += {value(symbol)}")
    for number, symbol in enumerate(program.state_gradients):
        lines.append(f"{INDENT}gradient{number} = {value(symbol)} + {zeros}")
    lines += [f"{INDENT}if PROGRAMS > 1:", f"{INDENT}    meet(counter, (step + 1) * PROGRAMS)"]
    lines += recurrent_gradient_lines(program, zeros)
    lines += [f"{INDENT}step += 1"]
    lines += [f"    tl.store(carried{n} + at, gradient{n}, mask=mine)" for n in states]
    for number in range(form.num_weights):
        place = f"(row * {form.num_weights} + {number}) * UNITS + unit"
        lines.append(f"    tl.store(weight_gradient + {place}, weight_total{number}, mask=mine)")
    return "\n".join([*lines, ""])


def recurrent_gradient_lines(program: Program, zeros: str) -> list[str]:
    """The gradient of h[t-1] through the recurrent product, for this program's units."""
    source = "input_gradient" if program.additive else "recurrent_gradient"
    lines = [
        f"{INDENT}passed = {zeros}",
        f"{INDENT}for start in tl.static_range(0, UNITS, INNER):",
        f"{INDENT}    inner = start + tl.arange(0, INNER)",
        f"{INDENT}    given = (row < batch) & (inner[None, :] < UNITS)",
        f"{INDENT}    known = (inner[:, None] < UNITS) & (unit < UNITS)",
    ]
    gates = program.form.num_gates
    for gate in range(gates):
        lines += [
            f"{INDENT}    gates = tl.load({source} + ((t * batch + row) * {gates} + {gate}) * UNITS + inner[None, :], "
            'mask=given, other=0.0, cache_modifier=".cg").to(recurrent_weight.dtype.element_ty)',
            f"{INDENT}    part = tl.load(recurrent_weight + ({gate} * UNITS + inner[:, None]) * UNITS + unit, "
            "mask=known, other=0.0)",
            f"{INDENT}    passed += tl.dot(gates, part, input_precision=PRECISION).to(state0.dtype.element_ty)",
        ]
    return [
        *lines,
        f"{INDENT}if MASKED:",
        f"{INDENT}    passed = passed * tl.load(mask + at, mask=mine, other=0.0)",
        f"{INDENT}gradient0 += passed",
    ]


def statements(program: Program, ends: Iterable[Symbol], saved: dict[Symbol, int]) -> list[str]:
    """One assignment a symbol, from the leaves to `ends`."""
    needed = sorted(reachable(ends, stop=frozenset(saved)), key=lambda symbol: symbol.index)
    held = [
        s for s in needed if s.operation not in ("constant", "gradient") and (s in saved or s.operation != "recurrent")
    ]
    return [f"{INDENT}{value(symbol)} = {assigned(program, symbol, saved)}" for symbol in held]


def assigned(program: Program, symbol: Symbol, saved: dict[Symbol, int]) -> str:
    number = int(symbol.value)
    if symbol in saved:
        place = f"saved + {slot_place(len(program.saved), saved[symbol])}"
    elif symbol.operation == "input":
        place = f"inputs + {slot_place(program.form.num_gates, number)}"
    elif symbol.operation == "state":
        place = f"state{number} + t * batch * UNITS + at"
    elif symbol.operation == "noise":
        place = f"noise + {slot_place(program.num_noise, number)}"
    elif symbol.operation == "weight":
        place = f"weight + {number} * UNITS + unit + 0 * row"
    else:
        return EXPRESSIONS[symbol.operation].format(*(value(argument) for argument in symbol.arguments))
    return f"tl.load({place}, mask=mine, other=0.0)"


def value(symbol: Symbol) -> str:
    """How a symbol is named in the kernel."""
    if symbol.operation == "constant":
        return repr(symbol.value)
    if symbol.operation in ("gradient", "recurrent"):
        return f"{symbol.operation}{int(symbol.value)}"
    return f"v{symbol.index}"


def slot_place(num_slots: int, slot: int) -> str:
    return f"((t * batch + row) * {num_slots} + {slot}) * UNITS + unit"
