"""A traced step as few PyTorch operations: gates that do the same are done together, in place.

Values live in places: a slot of a buffer [..., slot, unit]. Operations of one kind whose operands lie in neighbouring
slots become one instruction over all those slots: the four sums of an LSTM's gates one addition, its first two
sigmoids one sigmoid. A product that only enters a sum or a difference is fused with it.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from asr.model.scan.step import LEAVES, Symbol, reachable


@dataclass(frozen=True)
class Place:
    """Where a value lies; a constant has no buffer, its slot is its value."""

    buffer: str
    slot: int


@dataclass(frozen=True)
class Operand:
    """One slot for all of an instruction's slots, or as many."""

    buffer: str
    start: int
    count: int
    value: float = 0.0


@dataclass(frozen=True)
class Instruction:
    operation: str
    output: Operand
    operands: tuple[Operand, ...]


@dataclass(frozen=True)
class Plan:
    instructions: tuple[Instruction, ...]
    scratch: Mapping[str, int]  # the buffers that the plan needs for itself, and their slots


def make_plan(sinks: Sequence[tuple[Symbol, Place]], given: Mapping[Symbol, Place]) -> Plan:
    """Instructions that bring every sink's symbol to its place, from the `given` places and the leaves."""
    return Planner(sinks, given).run()


class Planner:
    def __init__(self, sinks: Sequence[tuple[Symbol, Place]], given: Mapping[Symbol, Place]) -> None:
        self.places = dict(given)
        self.sinks: dict[Symbol, list[Place]] = {}
        for symbol, place in sinks:
            self.sinks.setdefault(symbol, []).append(place)
        self.needed = sorted(reachable(self.sinks, stop=frozenset(given)), key=lambda symbol: symbol.index)
        for symbol in self.needed:
            if symbol.operation in LEAVES and symbol not in self.places:
                self.places[symbol] = leaf_place(symbol)
        self.uses = Counter(argument for s in self.needed if s not in given for argument in s.arguments)
        self.scratch: dict[str, int] = {}
        self.instructions: list[Instruction] = []

    def run(self) -> Plan:
        fused = {s.arguments[n] for s in self.needed if (n := self.fusible(s)) is not None and s not in self.places}
        waiting = [s for s in self.needed if s not in self.places and s not in fused and s.operation != "constant"]
        for symbol in [s for s in self.sinks if s in self.places or s.operation == "constant"]:
            self.place_again(symbol, self.sinks[symbol])
        while waiting:
            ready = [s for s in waiting if all(self.is_known(argument) for argument in self.arguments(s))]
            group = self.group(ready)
            self.emit(group)
            waiting = [symbol for symbol in waiting if symbol not in group]
        return Plan(tuple(self.instructions), self.scratch)

    def fusible(self, symbol: Symbol) -> int | None:
        """The number of the argument that is a product used here alone, for a fused multiply-add."""
        if symbol.operation not in ("add", "subtract"):
            return None
        for number in (1, 0) if symbol.operation == "add" else (1,):
            argument = symbol.arguments[number]
            alone = self.uses[argument] == 1 and argument not in self.sinks and argument not in self.places
            plain = not any(s.operation == "constant" for s in (*argument.arguments, *symbol.arguments))
            if argument.operation == "multiply" and alone and plain:
                return number
        return None

    def arguments(self, symbol: Symbol) -> tuple[Symbol, ...]:
        number = self.fusible(symbol)
        if number is None:
            return symbol.arguments
        return (symbol.arguments[1 - number], *symbol.arguments[number].arguments)

    def operation(self, symbol: Symbol) -> str:
        return symbol.operation if self.fusible(symbol) is None else f"{symbol.operation}_product"

    def is_known(self, symbol: Symbol) -> bool:
        return symbol in self.places or symbol.operation == "constant"

    def group(self, ready: list[Symbol]) -> list[Symbol]:
        """The largest run of ready operations that one instruction can do."""
        runs = [self.run_from(symbol, ready) for symbol in ready]
        return max(runs, key=len)

    def run_from(self, first: Symbol, ready: list[Symbol]) -> list[Symbol]:
        group = [first]
        moving: tuple[bool, ...] | None = None  # for each operand whether it moves on by a slot
        while True:
            for symbol in ready:
                steps = None if symbol in group else self.steps(group[-1], symbol)
                if steps is not None and (moving is None or steps == moving):
                    moving = steps
                    group.append(symbol)
                    break
            else:
                return group

    def steps(self, last: Symbol, symbol: Symbol) -> tuple[bool, ...] | None:
        """How each operand moves from one operation to the next, or None where they cannot be done as one."""
        if self.operation(last) != self.operation(symbol) or not self.placed_together(last, symbol):
            return None
        moves = []
        for before, after in zip(self.arguments(last), self.arguments(symbol)):
            if before is after:
                moves.append(False)
            elif "constant" not in (before.operation, after.operation) and self.adjacent(before, after):
                moves.append(True)
            else:
                return None
        return tuple(moves) if any(moves) else None

    def adjacent(self, before: Symbol, after: Symbol) -> bool:
        first, second = self.places[before], self.places[after]
        return first.buffer == second.buffer and second.slot == first.slot + 1

    def placed_together(self, last: Symbol, symbol: Symbol) -> bool:
        """Values bound for given places can share an instruction where those places are neighbours."""
        first, second = self.sinks.get(last), self.sinks.get(symbol)
        if first is None or second is None:
            return first is second
        return first[0].buffer == second[0].buffer and second[0].slot == first[0].slot + 1

    def emit(self, group: list[Symbol]) -> None:
        if group[0] in self.sinks:
            places = [self.sinks[symbol][0] for symbol in group]
        else:
            name = f"scratch{len(self.scratch)}"
            self.scratch[name] = len(group)
            places = [Place(name, slot) for slot in range(len(group))]
        self.places.update(zip(group, places))
        columns = zip(*(self.arguments(symbol) for symbol in group))
        operands = tuple(self.operand(column) for column in columns)
        output = Operand(places[0].buffer, places[0].slot, len(group))
        self.instructions.append(Instruction(self.operation(group[0]), output, operands))
        for symbol in group:
            self.place_again(symbol, self.sinks.get(symbol, [])[1:])

    def operand(self, column: Iterable[Symbol]) -> Operand:
        symbols = list(column)
        if symbols[0].operation == "constant":
            return Operand("constant", 0, 1, symbols[0].value)
        place = self.places[symbols[0]]
        return Operand(place.buffer, place.slot, 1 if symbols[0] is symbols[-1] else len(symbols))

    def place_again(self, symbol: Symbol, places: list[Place]) -> None:
        """Copy a value that is wanted in further places, or that was given and not made."""
        for place in places:
            output = Operand(place.buffer, place.slot, 1)
            self.instructions.append(Instruction("copy", output, (self.operand([symbol]),)))


def leaf_place(symbol: Symbol) -> Place:
    """A state and its gradient have a buffer each, the other leaves are the slots of one."""
    number = int(symbol.value)
    return (
        Place(f"{symbol.operation}{number}", 0)
        if symbol.operation in ("state", "gradient")
        else Place(symbol.operation, number)
    )
