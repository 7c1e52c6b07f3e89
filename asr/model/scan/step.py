"""Traces the arithmetic of one step of a cell, which is written once and read in several ways.

A cell's file states its step as a plain function of vectors over its units:

    step(inputs, recurrent, state, weights) -> next state

`inputs` are the gates' shares of W x[t] + b, `recurrent` those of R h[t-1], `state` the vectors carried from the last
step (the output first) and `weights` the vectors of one weight a unit (peepholes, gains). Called with tensors it is
the reference. Called with symbols, `trace` records what it does and derives its gradient, so that every fast path
(the compiled kernel, the Triton kernels) computes exactly these equations and their derivative.

A step may use + - *, and the tensor methods `sigmoid`, `tanh`, `relu`, `rsqrt` and `mean(-1, keepdim=True)`: the
mean over the units, for layer normalisation.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from operator import add, mul, sub
from typing import Any

Vector = Any  # a Tensor [..., unit] or a Symbol
Vectors = Sequence[Vector]
Step = Callable[[Vectors, Vectors, Vectors, Vectors], tuple[Vector, ...]]

LEAVES = ("input", "recurrent", "state", "weight", "noise", "gradient")
# Dear to recompute, so the forward pass keeps them for the backward pass where that needs them.
KEPT = ("sigmoid", "tanh", "relu", "rsqrt", "mean", "input", "recurrent")


class Symbol:
    """Stands for one value of a traced step: a leaf (a given vector), a constant, or an operation on earlier ones."""

    __slots__ = ("arguments", "graph", "index", "is_gradient", "operation", "value")

    def __init__(self, graph: "StepGraph", operation: str, arguments: tuple["Symbol", ...], value: float) -> None:
        self.graph = graph
        self.operation = operation
        self.arguments = arguments
        self.value = value  # of a constant; of a leaf its number among its kind
        self.index = len(graph.symbols)
        self.is_gradient = operation == "gradient" or any(argument.is_gradient for argument in arguments)

    def __repr__(self) -> str:
        inside = ", ".join(f"#{argument.index}" for argument in self.arguments) or f"{self.value:g}"
        return f"#{self.index} = {self.operation}({inside})"

    def __add__(self, other: "Symbol | float") -> "Symbol":
        return self.graph.add(self, self.graph.lift(other))

    __radd__ = __add__

    def __sub__(self, other: "Symbol | float") -> "Symbol":
        return self.graph.subtract(self, self.graph.lift(other))

    def __rsub__(self, other: float) -> "Symbol":
        return self.graph.subtract(self.graph.lift(other), self)

    def __mul__(self, other: "Symbol | float") -> "Symbol":
        return self.graph.multiply(self, self.graph.lift(other))

    __rmul__ = __mul__

    def sigmoid(self) -> "Symbol":
        return self.graph.record("sigmoid", (self,))

    def tanh(self) -> "Symbol":
        return self.graph.record("tanh", (self,))

    def relu(self) -> "Symbol":
        return self.graph.record("relu", (self,))

    def rsqrt(self) -> "Symbol":
        return self.graph.record("rsqrt", (self,))

    def mean(self, dim: int, keepdim: bool) -> "Symbol":
        assert dim == -1, "a step takes the mean over its units only"
        assert keepdim, "a step takes the mean over its units only"
        return self.graph.record("mean", (self,))


class StepGraph:
    """Keeps the symbols of one step; the same operation on the same arguments is the same symbol."""

    def __init__(self) -> None:
        self.symbols: list[Symbol] = []
        self._known: dict[tuple[object, ...], Symbol] = {}

    def record(self, operation: str, arguments: tuple[Symbol, ...], value: float = 0.0) -> Symbol:
        if operation in ("add", "multiply"):
            arguments = tuple(sorted(arguments, key=lambda symbol: symbol.index))
        key = (operation, value, *(argument.index for argument in arguments))
        if key not in self._known:
            symbol = Symbol(self, operation, arguments, value)
            self.symbols.append(symbol)
            self._known[key] = symbol
        return self._known[key]

    def leaves(self, kind: str, count: int) -> tuple[Symbol, ...]:
        return tuple(self.record(kind, (), float(number)) for number in range(count))

    def lift(self, value: "Symbol | float") -> Symbol:
        return value if isinstance(value, Symbol) else self.record("constant", (), float(value))

    def add(self, left: Symbol, right: Symbol) -> Symbol:
        if is_constant(left, 0.0) or is_constant(right, 0.0):
            return right if is_constant(left, 0.0) else left
        return self.record("add", (left, right))

    def subtract(self, left: Symbol, right: Symbol) -> Symbol:
        return left if is_constant(right, 0.0) else self.record("subtract", (left, right))

    def multiply(self, left: Symbol, right: Symbol) -> Symbol:
        for factor, other in ((left, right), (right, left)):
            if is_constant(factor, 1.0):
                return other
            if is_constant(factor, 0.0):
                return factor
        return self.record("multiply", (left, right))


def normalize(vectors: Vectors, *, epsilon: float = 1e-5) -> list[Vector]:
    """Normalises several vectors of units together (Ba et al. 2016, layer normalisation, equation 4), without gains."""
    share = 1.0 / len(vectors)
    mean = total(vectors).mean(-1, keepdim=True) * share
    centred = [vector - mean for vector in vectors]
    variance = total([vector * vector for vector in centred]).mean(-1, keepdim=True) * share
    scale = (variance + epsilon).rsqrt()
    return [vector * scale for vector in centred]


def total(vectors: Vectors) -> Vector:
    return sum(vectors[1:], vectors[0])


def is_constant(symbol: Symbol, value: float) -> bool:
    return symbol.operation == "constant" and symbol.value == value


@dataclass(frozen=True)
class StepForm:
    """Says what the engine must know of a cell's step."""

    step: Step
    num_gates: int
    num_states: int
    num_weights: int = 0
    # The output is projected to another width before it recurs, so the step cannot see the last output.
    projected: bool = False
    # From states in -1..1 the outputs stay there, and no normalisation makes small ones large: 8 bits of a fixed scale
    # do for them.
    bounded: bool = False
    gates: tuple[str, ...] = ()  # the names of the step's sigmoids, in the order in which it takes them


@dataclass(frozen=True, eq=False)
class Program:
    """Holds a traced step and its gradient, as symbols; it is compared and cached by identity."""

    form: StepForm
    num_noise: int
    next_state: tuple[Symbol, ...]
    input_gradients: tuple[Symbol, ...]
    recurrent_gradients: tuple[Symbol, ...]
    state_gradients: tuple[Symbol, ...]
    weight_gradients: tuple[Symbol, ...]
    saved: tuple[Symbol, ...]  # what the forward pass keeps for the backward pass
    gates: Mapping[str, Symbol]  # the step's sigmoids by their names; empty for a cell that names none

    @property
    def additive(self) -> bool:
        """Says whether inputs and recurrent products enter only as their sum, so that they share one gradient."""
        return self.input_gradients == self.recurrent_gradients

    @property
    def gradients(self) -> tuple[Symbol, ...]:
        return self.input_gradients + self.recurrent_gradients + self.state_gradients + self.weight_gradients


@cache
def trace(form: StepForm, *, zoneout: bool) -> Program:
    """Traces a cell's step, wrapped in zoneout where wanted, and derives its gradient.

    Zoneout (Krueger et al. 2017) keeps a share of each state: s[t] = s~[t] + noise * (s[t-1] - s~[t]),
    where the noise is 0 or 1 in training and its mean at inference. A projected output is not zoned out, its cell is.
    """
    graph = StepGraph()
    inputs, recurrent = graph.leaves("input", form.num_gates), graph.leaves("recurrent", form.num_gates)
    state, weights = graph.leaves("state", form.num_states), graph.leaves("weight", form.num_weights)
    next_state = form.step(inputs, recurrent, state, weights)
    sigmoids = [symbol for symbol in graph.symbols if symbol.operation == "sigmoid"]
    assert len(form.gates) in (0, len(sigmoids)), f"a step with {len(sigmoids)} sigmoids names {len(form.gates)} gates"
    gates = dict(zip(form.gates, sigmoids))
    num_noise = form.num_states if zoneout else 0
    if zoneout:
        next_state = zone_out(next_state, state, graph.leaves("noise", num_noise), projected=form.projected)
    num_forward = len(graph.symbols)
    gradients = derive(next_state, graph.leaves("gradient", form.num_states))
    zero = graph.lift(0.0)
    wanted = [tuple(gradients.get(leaf, zero) for leaf in leaves) for leaves in (inputs, recurrent, state, weights)]
    of_inputs, of_recurrent, of_state, of_weights = wanted
    saved = saved_for(wanted, num_forward)
    return Program(form, num_noise, next_state, of_inputs, of_recurrent, of_state, of_weights, saved, gates)


# The forward operations on vectors that are tensors.
OPERATIONS: dict[str, Callable[..., Vector]] = {
    "add": add,
    "subtract": sub,
    "multiply": mul,
    "sigmoid": lambda value: value.sigmoid(),
    "tanh": lambda value: value.tanh(),
    "relu": lambda value: value.relu(),
    "rsqrt": lambda value: value.rsqrt(),
    "mean": lambda value: value.mean(-1, keepdim=True),
}


def evaluate(symbols: Iterable[Symbol], leaves: Mapping[str, Vectors]) -> dict[Symbol, Vector]:
    """Returns the values of the forward pass's symbols and of all they depend on, from each kind of leaf's vectors."""
    values: dict[Symbol, Vector] = {}
    for symbol in sorted(reachable(symbols), key=lambda symbol: symbol.index):
        if symbol.operation in leaves:
            values[symbol] = leaves[symbol.operation][int(symbol.value)]
        elif symbol.operation == "constant":
            values[symbol] = symbol.value
        else:
            values[symbol] = OPERATIONS[symbol.operation](*(values[argument] for argument in symbol.arguments))
    return values


def zone_out(new: Vectors, old: Vectors, noise: Vectors, *, projected: bool) -> tuple[Vector, ...]:
    """Keeps of each state the share that the noise says."""
    first = 1 if projected else 0
    kept = (after + share * (before - after) for after, before, share in zip(new[first:], old[first:], noise[first:]))
    return (*new[:first], *kept)


def derive(outputs: tuple[Symbol, ...], gradients: tuple[Symbol, ...]) -> dict[Symbol, Symbol]:
    """Derives in reverse: returns the gradient of every symbol that `outputs` depend on, as new symbols."""
    totals: dict[Symbol, Symbol] = {}
    for output, gradient in zip(outputs, gradients):
        totals[output] = totals[output] + gradient if output in totals else gradient
    for symbol in sorted(reachable(outputs), key=lambda symbol: -symbol.index):
        if symbol not in totals:
            continue
        for argument, share in local_gradients(symbol, totals[symbol]):
            totals[argument] = totals[argument] + share if argument in totals else share
    return totals


def local_gradients(symbol: Symbol, gradient: Symbol) -> list[tuple[Symbol, Symbol]]:
    """Returns the share of `gradient` that each argument of one operation receives."""
    match symbol.operation, symbol.arguments:
        case "add", (left, right):
            return [(left, gradient), (right, gradient)]
        case "subtract", (left, right):
            return [(left, gradient), (right, scale(gradient, symbol.graph.lift(-1.0)))]
        case "multiply", (left, right):
            if "weight" in (left.operation, right.operation):  # the gate's own gradient serves both, as it is
                return [(left, gradient * right), (right, gradient * left)]
            return [(left, scale(gradient, right)), (right, scale(gradient, left))]
        case "sigmoid", (argument,):
            return [(argument, scale(gradient, symbol * (1.0 - symbol)))]
        case "tanh", (argument,):
            return [(argument, scale(gradient, 1.0 - symbol * symbol))]
        case "relu", (argument,):
            return [(argument, scale(gradient, symbol.graph.record("positive", (symbol,))))]
        case "rsqrt", (argument,):
            return [(argument, scale(gradient, symbol * symbol * symbol * -0.5))]
        case "mean", (argument,):
            return [(argument, gradient.mean(-1, keepdim=True))]
    return []


def scale(gradient: Symbol, factor: Symbol) -> Symbol:
    """Returns gradient * factor, with factors known before the backward pass multiplied first: (g a) b = g (a b)."""
    if gradient.operation == "multiply" and not factor.is_gradient:
        known = [argument for argument in gradient.arguments if not argument.is_gradient]
        if known:
            (base,) = (argument for argument in gradient.arguments if argument.is_gradient)
            return base * (known[0] * factor)
    return gradient * factor


def reachable(ends: Iterable[Symbol], *, stop: frozenset[Symbol] = frozenset()) -> set[Symbol]:
    """Returns every symbol that `ends` depend on, themselves included; the search does not look behind `stop`."""
    found: set[Symbol] = set()
    waiting = list(ends)
    while waiting:
        symbol = waiting.pop()
        if symbol not in found:
            found.add(symbol)
            if symbol not in stop:
                waiting.extend(symbol.arguments)
    return found


def saved_for(gradients: Iterable[tuple[Symbol, ...]], num_forward: int) -> tuple[Symbol, ...]:
    """Returns what the gradients need of the forward pass and cannot cheaply make again from states and weights."""
    ends = [symbol for group in gradients for symbol in group]
    everything = reachable(ends)
    kept = frozenset(symbol for symbol in everything if symbol.index < num_forward and symbol.operation in KEPT)
    needed = reachable(ends, stop=kept) & kept
    # Of one kind together, so that one instruction can make several.
    return tuple(sorted(needed, key=lambda symbol: (symbol.operation, symbol.index)))
