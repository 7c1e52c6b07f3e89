"""Writes a traced step as C++: the header `step.h` that kernel.cpp is compiled with."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from asr.model.scan.step import LEAVES, Program, Symbol, reachable

READS = {leaf: f"io.{leaf}({{number}})" for leaf in LEAVES}
EXPRESSIONS = {
    "add": "{0} + {1}",
    "subtract": "{0} - {1}",
    "multiply": "{0} * {1}",
    "sigmoid": "sigmoid({0})",
    "tanh": "hyperbolic_tangent({0})",
    "relu": "rectifier({0})",
    "positive": "is_positive({0})",
    "rsqrt": "inverse_root({0})",
}


@dataclass(frozen=True)
class Sink:
    """Holds a value that leaves the step, and the statement that takes it."""

    symbol: Symbol
    statement: str  # with {value}
    last: bool = False  # wait for the last phase, because it overwrites what earlier ones read


def step_header(program: Program) -> str:
    """Returns the constants and the two functions of `struct Step`, as kernel.cpp calls them."""
    form = program.form
    forward = [Sink(s, f"io.next({n}, {{value}});", last=True) for n, s in enumerate(program.next_state)]
    saved, constants_of_row = saved_apart(program)
    forward += [Sink(s, f"io.save({n}, {{value}});") for n, s in enumerate(saved)]
    forward += [Sink(s, f"io.save_for_row({n}, {{value}});") for n, s in enumerate(constants_of_row)]
    backward = []
    for kind in ("input", "recurrent", "state", "weight"):
        if kind == "recurrent" and program.additive:
            continue
        for number, symbol in enumerate(getattr(program, f"{kind}_gradients")):
            if kind == "state" and number == 0 and form.projected:
                continue
            backward.append(Sink(symbol, f"io.{kind}_gradient({number}, {{value}});"))
    constants = {
        "gates": form.num_gates,
        "states": form.num_states,
        "weights": form.num_weights,
        "saved": len(saved),
        "saved_for_row": len(constants_of_row),
        "additive": int(program.additive),
        "projected": int(form.projected),
        "noisy": int(program.num_noise > 0),
    }
    lines = ["struct Step {", *(f"  static constexpr int {name} = {value};" for name, value in constants.items())]
    lines += phases("forward", forward, {})
    reads = {symbol: f"io.saved({n})" for n, symbol in enumerate(saved)}
    reads |= {symbol: f"io.saved_for_row({n})" for n, symbol in enumerate(constants_of_row)}
    lines += phases("backward", backward, reads)
    return "\n".join([*lines, "};", ""])


def saved_apart(program: Program) -> tuple[list[Symbol], list[Symbol]]:
    """Returns what is saved for every unit, and what is the same for all units of a row."""
    constants = [symbol for symbol in program.saved if is_constant_of_row(symbol)]
    return [symbol for symbol in program.saved if symbol not in constants], constants


def is_constant_of_row(symbol: Symbol) -> bool:
    """Says whether a value is the same for all units: a mean over them, or made of means alone."""
    if symbol.operation in ("mean", "constant"):
        return True
    return bool(symbol.arguments) and all(is_constant_of_row(argument) for argument in symbol.arguments)


def phases(name: str, sinks: Sequence[Sink], saved: dict[Symbol, str]) -> list[str]:
    """Writes one function a phase: a mean over the units ends a phase, for the next one needs it for every unit."""
    symbols = reachable([sink.symbol for sink in sinks], stop=frozenset(saved))
    level = levels(symbols, saved)
    means = {s: n for n, s in enumerate(s for s in in_order(symbols - saved.keys()) if s.operation == "mean")}
    num_phases = max(level.values(), default=0) + 1
    spilled: dict[Symbol, int] = {}
    bodies: list[list[str]] = []
    for phase in reversed(range(num_phases)):
        here = [sink for sink in sinks if (num_phases - 1 if sink.last else level[sink.symbol]) == phase]
        summed = [mean for mean in means if level[mean.arguments[0]] == phase]
        roots = [s.symbol for s in here] + [m.arguments[0] for m in summed] + [s for s in spilled if level[s] == phase]
        known = {s for s in symbols if s in saved or s in means or (s.arguments and level[s] < phase)}
        needed = reachable(roots, stop=frozenset(known))
        for symbol in in_order(needed & known - saved.keys() - means.keys()):
            spilled.setdefault(symbol, len(spilled))
        body = []
        for symbol in in_order(needed):
            body.append(f"    const auto v{symbol.index} = {read(symbol, saved, means, spilled, symbol in known)};")
        body += [f"    io.spill({n}, v{s.index});" for s, n in spilled.items() if level[s] == phase and s not in known]
        body += [f"    io.sum({means[mean]}, v{mean.arguments[0].index});" for mean in summed]
        body += ["    " + sink.statement.format(value=f"v{sink.symbol.index}") for sink in here]
        bodies.append(body)
    lines = [f"  static constexpr int {name}_phases = {num_phases}, {name}_means = {len(means)};"]
    lines.append(f"  static constexpr int {name}_spilled = {len(spilled)};")
    summed_in = ", ".join(str(level[mean.arguments[0]]) for mean in means) or "-1"
    lines.append(f"  static constexpr int {name}_summed_in[] = {{{summed_in}}};")
    for phase, body in enumerate(reversed(bodies)):
        lines.append(f"  template <class Io> static inline void {name}(Io& io, Phase<{phase}>) {{")
        lines += [*body, "  }"]
    return lines


def in_order(symbols: Iterable[Symbol]) -> list[Symbol]:
    """Returns symbols as they were recorded, so that the same step always makes the same text."""
    return sorted(symbols, key=lambda symbol: symbol.index)


def levels(symbols: set[Symbol], saved: dict[Symbol, str]) -> dict[Symbol, int]:
    """Returns the first phase in which each value can be had."""
    level: dict[Symbol, int] = {}
    for symbol in in_order(symbols):
        behind = [] if symbol in saved else [level[argument] for argument in symbol.arguments]
        level[symbol] = max(behind, default=0) + (symbol.operation == "mean" and symbol not in saved)
    return level


def read(
    symbol: Symbol, saved: dict[Symbol, str], means: dict[Symbol, int], spilled: dict[Symbol, int], known: bool
) -> str:
    """Returns the right-hand side that gives a value in one phase."""
    if symbol in saved:
        return saved[symbol]
    if symbol.operation == "constant":
        return f"io.constant({symbol.value!r})"
    if symbol.operation in READS:
        return READS[symbol.operation].format(number=int(symbol.value))
    if symbol in means:
        return f"io.mean({means[symbol]})"
    if known:
        return f"io.spilled({spilled[symbol]})"
    return EXPRESSIONS[symbol.operation].format(*(f"v{argument.index}" for argument in symbol.arguments))
