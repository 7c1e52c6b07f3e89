"""The scan in PyTorch without a compiler: a differentiable function that loops over time in place.

Nothing is recorded by autograd and nothing allocated in the loop but the product with the recurrent weights, which are
packed once for oneDNN. Of the backward pass, what does not wait for a later step's gradient is computed for all steps
at once, and so are the gradients of all weights.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import cache
from itertools import repeat
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from asr.model.scan.plan import Operand, Place, Plan, make_plan
from asr.model.scan.products import has_onednn, outer_product
from asr.model.scan.recurrence import Recurrence, neighbours
from asr.model.scan.step import Program, Symbol, reachable

OPERATIONS: dict[str, Callable[..., Any]] = {
    "add": torch.add,
    "subtract": torch.subtract,
    "multiply": torch.mul,
    "add_product": torch.addcmul,
    "subtract_product": lambda base, left, right, out: torch.addcmul(base, left, right, value=-1, out=out),
    "sigmoid": torch.sigmoid,
    "tanh": torch.tanh,
    "relu": lambda value, out: torch.clamp(value, min=0, out=out),
    "positive": lambda value, out: torch.gt(value, 0, out=out),
    "rsqrt": torch.rsqrt,
    "mean": lambda value, out: out.copy_(value.mean(-1, keepdim=True)),
    "copy": lambda value, out: out.copy_(value),
}
STRETCH = 16  # steps whose intermediate values fit the cache
Buffers = dict[str, Tensor]  # [time or 1, batch, band, slot, unit]


def scan_loop(recurrence: Recurrence, program: Program) -> tuple[Tensor, tuple[Tensor, ...]]:
    """Computes `scan_reference` by the loop in place."""
    r = recurrence
    tensors = (r.gates, r.recurrent_weight, r.weights, r.projection, r.mask, r.noise, *r.state)
    training = torch.is_grad_enabled() and any(t is not None and t.requires_grad for t in tensors)
    outputs, *last = LoopScan.apply(program, training, *tensors)
    return outputs, (outputs[:, -1], *last)


class PackedWeights:
    """A matrix [column, inner] packed once, to be multiplied with the rows of many steps."""

    def __init__(self, matrix: Tensor) -> None:
        self.matrix, self.num_columns = matrix, len(matrix)
        self.packed = has_onednn(matrix)
        if self.packed:
            # A width of whole pages makes oneDNN's rows evict one another from the cache: 141 us, padded 97.
            padding = 16 if self.num_columns % 1024 == 0 else 0
            self.matrix = torch.ops.mkldnn._reorder_linear_weight(F.pad(matrix, (0, 0, 0, padding)).contiguous())

    def product(self, rows: Tensor) -> Tensor:
        """rows @ matrix.T, for [..., inner]."""
        if not self.packed:
            return F.linear(rows, self.matrix)
        flat = rows.reshape(-1, rows.shape[-1])
        result = torch.ops.mkldnn._linear_pointwise(flat, self.matrix, None, "none", [], "")
        return result[:, : self.num_columns].unflatten(0, rows.shape[:-1])


@cache
def forward_plan(program: Program, *, training: bool) -> Plan:
    sinks = [(symbol, Place(f"next{number}", 0)) for number, symbol in enumerate(program.next_state)]
    if training:
        sinks += [(symbol, Place("saved", number)) for number, symbol in enumerate(program.saved)]
    return make_plan(sinks, {})


@dataclass(frozen=True)
class BackwardPlans:
    """The backward pass in three plans: for many steps beforehand, for each step in turn, and for many afterwards."""

    beforehand: Plan
    num_known: int  # the slots that it leaves for the others
    each: Plan
    afterwards: Plan  # the gradients of the weights of single units


@cache
def backward_plans(program: Program) -> BackwardPlans:
    saved = {symbol: Place("saved", number) for number, symbol in enumerate(program.saved)}
    sinks = [(symbol, Place("input_gradient", n)) for n, symbol in enumerate(program.input_gradients)]
    if not program.additive:
        sinks += [(symbol, Place("recurrent_gradient", n)) for n, symbol in enumerate(program.recurrent_gradients)]
    sinks += [(s, Place(f"before{n}", 0)) for n, s in enumerate(program.state_gradients) if n > 0 or s.is_gradient]
    last = [(symbol, Place("weight_gradient", n)) for n, symbol in enumerate(program.weight_gradients)]
    known = known_beforehand([symbol for symbol, _ in sinks], saved)
    places = {symbol: Place("known", number) for number, symbol in enumerate(known)}
    made = {symbol: place for symbol, place in sinks if not place.buffer.startswith("before") and symbol.is_gradient}
    return BackwardPlans(
        beforehand=make_plan(list(places.items()), saved),
        num_known=len(known),
        each=make_plan(sinks, saved | places),
        afterwards=make_plan(last, saved | places | made),
    )


def known_beforehand(ends: list[Symbol], saved: dict[Symbol, Place]) -> list[Symbol]:
    """What the step of the backward pass uses of the forward pass; the sinks' own factors first, in their order."""
    symbols = reachable(ends, stop=frozenset(saved))
    waiting = sorted((s for s in symbols if s.is_gradient), key=lambda s: s.index)
    uses = [argument for end in ends for argument in end.arguments if end.is_gradient]
    uses += [argument for symbol in waiting for argument in symbol.arguments]
    known = [use for use in uses if not use.is_gradient and use not in saved and use.arguments]
    return list(dict.fromkeys(known))


class Steps:
    """A plan bound to buffers: each call runs the next step, on its views of every buffer."""

    def __init__(self, plan: Plan, buffers: Buffers, *, turned: bool = False) -> None:
        self.turned = turned  # from the last step to the first
        self.recurrent = torch.empty(0)  # [batch, band, gate, unit] of the step to come
        self.buffers = buffers
        self.instructions = [
            (OPERATIONS[i.operation], zip(*(self.views(operand) for operand in i.operands)), iter(self.views(i.output)))
            for i in plan.instructions
        ]

    def views(self, operand: Operand) -> Iterable[Tensor]:
        if operand.buffer == "constant":
            return repeat(self.buffers["input"].new_tensor(operand.value))
        if operand.buffer == "recurrent":
            return self.recurrent_views(operand)
        views = self.buffers[operand.buffer].narrow(3, operand.start, operand.count).unbind(0)
        return repeat(views[0]) if len(views) == 1 else views[:: -1 if self.turned else 1]

    def recurrent_views(self, operand: Operand) -> Iterator[Tensor]:
        while True:
            yield self.recurrent.narrow(2, operand.start, operand.count)

    def __call__(self) -> None:
        for operation, operands, output in self.instructions:
            operation(*next(operands), out=next(output))


def scratch_of(plan: Plan, example: Tensor, *, time: int) -> dict[str, Tensor]:
    """The plan's own buffers, for `time` steps of inputs like `example` [time, batch, band, slot, unit]."""
    _, batch, bands, _, units = example.shape
    return {name: example.new_empty(time, batch, bands, slots, units) for name, slots in plan.scratch.items()}


def run_at_once(plan: Plan, buffers: Buffers) -> None:
    """Run a plan for all steps of the buffers together."""
    example = buffers["input"]
    for instruction in plan.instructions:
        given = [
            example.new_tensor(o.value) if o.buffer == "constant" else buffers[o.buffer].narrow(3, o.start, o.count)
            for o in instruction.operands
        ]
        output = instruction.output
        OPERATIONS[instruction.operation](*given, out=buffers[output.buffer].narrow(3, output.start, output.count))


class LoopScan(torch.autograd.Function):
    """The layer over all time; inside, time comes first: [time, batch, band, slot, unit]."""

    @staticmethod
    def forward(ctx: Any, program: Program, training: bool, *tensors: Any) -> tuple[Tensor, ...]:
        gates, recurrent_weight, weights, projection, mask, noise, *state = tensors
        form = program.form
        slots = gates.unflatten(-1, (form.num_gates, -1)).transpose(0, 1)
        time, batch, bands, _, units = slots.shape
        # [time + 1, batch, band, 1, unit]: before the first step, and after each
        states = [torch.cat((part[None], part.new_empty(time, *part.shape))).unsqueeze(3) for part in state]
        buffers = {"input": slots} | {f"state{n}": part[:-1] for n, part in enumerate(states)}
        buffers |= {f"next{n}": part[1:] for n, part in enumerate(states)}
        if form.projected:
            buffers["next0"] = slots.new_empty(time, batch, bands, 1, units)
        if weights is not None:
            buffers["weight"] = weights.transpose(0, 1)[None, None]
        if noise is not None:
            buffers["noise"] = noise.transpose(0, 1)
        if training:
            buffers["saved"] = slots.new_empty(time, batch, bands, len(program.saved), units)
        run_forward(program, buffers, states[0], (recurrent_weight, projection, mask), training=training)
        if training:
            ctx.program, ctx.recurrent_weight = program, recurrent_weight
            ctx.names = [*buffers]
            ctx.save_for_backward(recurrent_weight, projection, mask, states[0], *buffers.values())
        return states[0][1:, :, :, 0].transpose(0, 1), *(part[-1, :, :, 0].clone() for part in states[1:])

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Any, ...]:
        recurrent_weight, projection, mask, outputs, *tensors = ctx.saved_tensors
        with torch.autocast(outputs.device.type, enabled=False):
            buffers = dict(zip(ctx.names, tensors))
            run_backward(ctx.program, buffers, gradients, (recurrent_weight, projection, mask))
            return (None, None, *loop_gradients(ctx.program, buffers, outputs, (recurrent_weight, projection, mask)))


def run_forward(
    program: Program, buffers: Buffers, outputs: Tensor, matrices: tuple[Tensor, Tensor | None, Tensor | None], *,
    training: bool,
) -> None:  # fmt: skip
    """Fill `outputs` [time + 1, batch, band, 1, recurrent] and the buffers, step by step."""
    recurrent_weight, projection, mask = matrices
    plan = forward_plan(program, training=training)
    step = Steps(plan, buffers | scratch_of(plan, buffers["input"], time=1))
    packed = PackedWeights(recurrent_weight)
    packed_projection = None if projection is None else PackedWeights(projection)
    taps = recurrent_weight.shape[1] // outputs.shape[-1]
    for before, after, raw in zip(outputs[:-1].unbind(0), outputs[1:].unbind(0), buffers["next0"].unbind(0)):
        hidden = before.squeeze(2) if mask is None else before.squeeze(2) * mask
        step.recurrent = packed.product(neighbours(hidden, taps)).unflatten(-1, (program.form.num_gates, -1))
        step()
        if packed_projection is not None:
            after.copy_(packed_projection.product(raw))


def run_backward(
    program: Program, buffers: dict[str, Tensor], gradients: tuple[Tensor, ...],
    matrices: tuple[Tensor, Tensor | None, Tensor | None],
) -> None:  # fmt: skip
    """Add to `buffers` the gradients that the backward plan makes, from the last step to the first."""
    recurrent_weight, projection, mask = matrices
    add_gradient_buffers(program, buffers, gradients)
    size = gradients[0].shape[-1]
    taps = recurrent_weight.shape[1] // size
    # The gradient of h[t-1] gathers from the bands that it gave to: the same convolution with its taps turned round.
    turned = recurrent_weight.unflatten(1, (taps, size)).flip(1).permute(2, 1, 0).flatten(1)
    packed = PackedWeights(turned)
    packed_projection = None if projection is None else PackedWeights(projection.T)
    passes_on = program.state_gradients[0].is_gradient
    given, totals = gradients[0].transpose(0, 1).unsqueeze(3).unbind(0), buffers["total"].unbind(0)
    of_products, before = buffers["recurrent_gradient"].flatten(3).unbind(0), buffers["before0"][0]
    for t, step in backward_steps(program, buffers):
        torch.add(given[t], before, out=totals[t])
        if packed_projection is not None:
            buffers["gradient0"][0].copy_(packed_projection.product(totals[t]))
        step()
        product = packed.product(neighbours(of_products[t], taps)).unsqueeze(2)
        if mask is not None:
            product = product * mask.unsqueeze(2)
        before = before.add_(product) if passes_on else product
    buffers["before0"] = before


def add_gradient_buffers(program: Program, buffers: dict[str, Tensor], gradients: tuple[Tensor, ...]) -> None:
    time, batch, bands, num_gates, units = buffers["input"].shape
    new = gradients[0].new_empty
    buffers["input_gradient"] = new(time, batch, bands, num_gates, units)
    of_products = buffers["input_gradient"] if program.additive else new(time, batch, bands, num_gates, units)
    buffers["recurrent_gradient"] = of_products
    buffers["total"] = new(time, batch, bands, 1, gradients[0].shape[-1])
    buffers["gradient0"] = new(1, batch, bands, 1, units) if program.form.projected else buffers["total"]
    buffers["before0"] = torch.zeros_like(buffers["total"][:1])
    for number, gradient in enumerate(gradients[1:], 1):
        whole = new(time + 1, batch, bands, 1, units)
        whole[-1, :, :, 0] = gradient
        buffers[f"gradient{number}"], buffers[f"before{number}"] = whole[1:], whole[:-1]
    buffers["weight_total"] = new(bands, program.form.num_weights, units).zero_()


def backward_steps(program: Program, buffers: dict[str, Tensor]) -> Iterator[tuple[int, Steps]]:
    """Every step from the last to the first, after what a stretch of steps can have beforehand is computed for it."""
    plans, inputs = backward_plans(program), buffers["input"]
    time, stretch = len(inputs), min(len(inputs), STRETCH)
    own = scratch_of(plans.each, inputs, time=1)
    first, last = (scratch_of(plan, inputs, time=stretch) for plan in (plans.beforehand, plans.afterwards))
    shared = {"known": plans.num_known, "weight_gradient": program.form.num_weights}
    shared = {name: inputs.new_empty(stretch, *inputs.shape[1:3], n, inputs.shape[4]) for name, n in shared.items()}
    for end in range(time, 0, -stretch):
        start = max(0, end - stretch)
        here = {name: b if len(b) == 1 or name == "weight_total" else b[start:end] for name, b in buffers.items()}
        here |= {name: buffer[: end - start] for name, buffer in shared.items()}
        run_at_once(plans.beforehand, here | {name: buffer[: end - start] for name, buffer in first.items()})
        step = Steps(plans.each, here | own, turned=True)
        for t in range(end - 1, start - 1, -1):
            yield t, step
        if program.form.num_weights:
            run_at_once(plans.afterwards, here | {name: buffer[: end - start] for name, buffer in last.items()})
            buffers["weight_total"] += here["weight_gradient"].sum((0, 1))


def loop_gradients(
    program: Program, buffers: dict[str, Tensor], outputs: Tensor, matrices: tuple[Tensor, Tensor | None, Tensor | None]
) -> tuple[Tensor | None, ...]:
    """The gradients in the order of LoopScan's tensors, those of all weights in one product each."""
    recurrent_weight, projection, mask = matrices
    before = outputs[:-1].squeeze(3) if mask is None else outputs[:-1].squeeze(3) * mask
    taps = recurrent_weight.shape[1] // before.shape[-1]
    of_products = buffers["recurrent_gradient"].flatten(3)
    of_projection = None
    if projection is not None:
        of_projection = outer_product(buffers["total"].flatten(0, 3), buffers["next0"].flatten(0, 3))
    of_state = [buffers["before0"].squeeze(2)]
    of_state += [buffers[f"before{n}"][0].squeeze(2) for n in range(1, program.form.num_states)]
    return (
        buffers["input_gradient"].flatten(3).transpose(0, 1),
        outer_product(of_products.flatten(0, 2), neighbours(before, taps).flatten(0, 2)),
        buffers["weight_total"].transpose(0, 1) if program.form.num_weights else None,
        of_projection, None, None, *of_state,
    )  # fmt: skip
