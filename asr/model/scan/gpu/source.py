"""Writes a traced step as Triton source: kernel.py with the step of a cell in the marked place."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from asr.model.scan.step import Program, Symbol, reachable

TEMPLATE = Path(__file__).with_name("kernel.py")
BEGIN = "# ---- The step, which source.py writes anew for each cell\n# fmt: off\n"
END = "# fmt: on\n# ---- The end of the step\n"
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
# The tuples that a step is given, by the kind of leaf.
GIVEN = {
    "input": "inputs",
    "recurrent": "recurrent",
    "state": "state",
    "weight": "weights",
    "noise": "noise",
    "gradient": "gradients",
}
FORWARD = "inputs, recurrent, state, weights, noise"
BACKWARD = "saved, state, weights, noise, gradients"
FUNCTION = """

@triton.jit
def {name}(
    {given}, zeros, mine, partial, counter, meetings,
    BATCH: tl.constexpr, UNITS: tl.constexpr, PROGRAMS: tl.constexpr, COLUMNS: tl.constexpr,
):
{lines}
"""


def kernel_source(program: Program) -> str:
    """Returns the Triton module of a cell, which must not be projected."""
    before, _, rest = TEMPLATE.read_text(encoding="utf-8").partition(BEGIN)
    _, _, after = rest.partition(END)
    return f"{before}{BEGIN}{step_source(program)}\n\n{END}{after}"


def step_source(program: Program) -> str:
    """Writes the two functions in the marked place: one step forwards, and its gradient."""
    forward = statements(symbols_of(program, "forward"), {})
    forward.append(f"return {joined(program.next_state, {})}, {joined(program.saved, {}, end=' + zeros')}")
    stored = {symbol: f"saved[{number}]" for number, symbol in enumerate(program.saved)}
    backward = statements(symbols_of(program, "backward"), stored)
    for name, symbols in (
        ("of_inputs", program.input_gradients),
        ("of_products", program.recurrent_gradients),
        ("of_states", program.state_gradients),
    ):
        backward.append(f"{name} = {joined(symbols, stored, end=' + zeros')}")
    backward.append(f"return of_inputs, of_products, of_states, {joined(program.weight_gradients, stored)}")
    return function("forward_step", FORWARD, forward) + function("backward_step", BACKWARD, backward)


def function(name: str, given: str, lines: Iterable[str]) -> str:
    return FUNCTION.format(name=name, given=given, lines="\n".join(f"    {line}" for line in lines)).rstrip("\n") + "\n"


def symbols_of(program: Program, direction: str) -> list[Symbol]:
    """Returns what a step computes or reads, from the leaves on."""
    if direction == "forward":
        return needed([*program.next_state, *program.saved], frozenset())
    return needed(program.gradients, frozenset(program.saved))


def count_means(program: Program, direction: str) -> int:
    stored = () if direction == "forward" else program.saved
    return sum(s.operation == "mean" and s not in stored for s in symbols_of(program, direction))


def needed(ends: Iterable[Symbol], stored: frozenset[Symbol]) -> list[Symbol]:
    """Returns the symbols from the leaves to `ends`, in the order in which they were recorded."""
    return sorted(reachable(ends, stop=stored), key=lambda symbol: symbol.index)


def statements(symbols: Iterable[Symbol], stored: Mapping[Symbol, str]) -> list[str]:
    """Writes one assignment for each operation."""
    lines, num_means = [], 0
    for symbol in symbols:
        arguments = [value(argument, stored) for argument in symbol.arguments]
        if symbol in stored:
            continue
        if symbol.operation == "mean":
            partial = f"partial + {num_means} * PROGRAMS * BATCH"
            num_means += 1
            expression = (
                f"mean_of_all({arguments[0]} + zeros, mine, {partial}, counter, "
                f"meetings + {num_means}, BATCH, UNITS, PROGRAMS, COLUMNS)"
            )
        elif symbol.operation in EXPRESSIONS:
            expression = EXPRESSIONS[symbol.operation].format(*arguments)
        else:
            continue
        lines.append(f"{value(symbol, stored)} = {expression}")
    return lines


def joined(symbols: Sequence[Symbol], stored: Mapping[Symbol, str], *, end: str = "") -> str:
    """Writes a tuple of values; what is the same for all units of a row becomes whole where zeros are added."""
    return "(" + " ".join(f"{value(symbol, stored)}{end}," for symbol in symbols) + ")"


def value(symbol: Symbol, stored: Mapping[Symbol, str]) -> str:
    """Returns how a symbol is written in the kernel."""
    if symbol in stored:
        return stored[symbol]
    if symbol.operation == "constant":
        return repr(symbol.value)
    if symbol.operation in GIVEN:
        return f"{GIVEN[symbol.operation]}[{int(symbol.value)}]"
    return f"v{symbol.index}"
