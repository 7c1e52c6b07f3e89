"""All cells share this: weights, options, the initial state, and the way from inputs to the scan over time."""

import torch
from jaxtyping import Float, Int8
from pydantic import Field, model_validator
from torch import Generator, Tensor, nn

from asr.model.scan.choose import Case, Choice, Path
from asr.model.scan.halves import asked_precision
from asr.model.scan.machine import choose_here
from asr.model.scan.products import linear
from asr.model.scan.recurrence import Recurrence
from asr.model.scan.run import scan
from asr.model.scan.step import StepForm
from asr.section import LARGEST_WIDTH, Section


class CellOptions(Section):
    """The options that every cell takes."""

    hidden_size: int = Field(256, ge=1, le=LARGEST_WIDTH, description="units in the layer")
    orthogonal_recurrent: bool = Field(False, description="start each gate's recurrent weights orthogonal")
    recurrent_dropout: float = Field(
        0.0, ge=0.0, lt=1.0, description="share of the recurrent connection dropped, the same units at every step"
    )
    zoneout: float = Field(0.0, ge=0.0, lt=1.0, description="chance that a unit keeps its state for a step")
    learnt_initial_state: bool = Field(False, description="learn the state before the first frame, else zeros")


class ForgetGateOptions(CellOptions):
    """The options of a cell that has a forget gate."""

    forget_gate_bias: float = Field(1.0, description="initial bias of the forget gate; positive remembers at first")


class BandOptions(Section):
    """The options of a cell that convolves over the frequency bands of a frame."""

    num_bands: int = Field(40, ge=1, le=LARGEST_WIDTH, description="frequency bands in a frame of the inputs")
    kernel_size: int = Field(3, ge=1, le=LARGEST_WIDTH, description="width of the convolutions in bands; odd")

    @model_validator(mode="after")
    def _kernel_fits(self) -> "BandOptions":
        if self.kernel_size > self.num_bands:
            raise ValueError(
                f"kernel_size: {self.kernel_size} is wider than the {self.num_bands} bands of a frame; "
                f"choose at most num_bands ({self.num_bands})"
            )
        if self.kernel_size % 2 == 0:
            raise ValueError(
                f"kernel_size: {self.kernel_size} is even and has no middle band; "
                f"choose {self.kernel_size - 1} or {self.kernel_size + 1}"
            )
        return self


class RecurrentBytes(nn.Module):
    """The recurrent weights as integers of 8 bits, with what one of them stands for in each row."""

    weight: Int8[Tensor, "gate_unit recurrent"]
    scales: Float[Tensor, " gate_unit"]

    def __init__(self, weight: Int8[Tensor, "gate_unit recurrent"], scales: Float[Tensor, " gate_unit"]) -> None:
        super().__init__()
        self.register_buffer("weight", weight)
        self.register_buffer("scales", scales)


class Cell(nn.Module):
    """A recurrent layer in one direction, given its step.

    h[t-1] is the recurrent output: hidden_size wide, or projected. With variational dropout (Gal & Ghahramani 2016)
    the recurrent product is R (mask * h[t-1]), with one mask an utterance for all steps. Zoneout is Krueger et al.
    2017. Both draw from `generator`, or from PyTorch's own as `nn.Dropout` does, in training only.
    """

    def __init__(
        self,
        input_size: int,
        options: CellOptions,
        form: StepForm,
        *,
        recurrent_size: int | None = None,
        num_bands: int = 1,
        kernel_size: int = 1,
    ) -> None:
        super().__init__()
        units = options.hidden_size
        self.form, self.options = form, options
        self.input_size, self.recurrent_size = input_size, recurrent_size or units
        self.num_bands, self.kernel_size = num_bands, kernel_size
        self.output_size = num_bands * self.recurrent_size
        self.path: Path = "auto"
        # In the place of W x[t] + b and R h[t-1], where they are computed in another way (see `quantize`).
        self.input_product: nn.Module | None = None
        self.product_of_both: nn.Module | None = None  # the inputs' share for this cell, and that for its backward one
        self.recurrent_bytes: RecurrentBytes | None = None
        rows = form.num_gates * units
        self.input_weight = nn.Parameter(torch.empty(rows, kernel_size * (input_size // num_bands)))
        self.recurrent_weight = nn.Parameter(torch.empty(rows, kernel_size * self.recurrent_size))
        self.bias = nn.Parameter(torch.zeros(rows))
        widths = (self.recurrent_size, *[units] * (form.num_states - 1))
        self.initial_state = nn.ParameterList(
            nn.Parameter(torch.zeros(num_bands * width), requires_grad=options.learnt_initial_state) for width in widths
        )
        self._initialize()

    @torch.no_grad()
    def _initialize(self) -> None:
        bound = self.options.hidden_size**-0.5
        nn.init.uniform_(self.input_weight, -bound, bound)
        nn.init.uniform_(self.recurrent_weight, -bound, bound)
        if self.options.orthogonal_recurrent:
            for gate in self.recurrent_weight.view(self.form.num_gates, self.options.hidden_size, -1):
                nn.init.orthogonal_(gate)

    @torch.no_grad()
    def set_gate_bias(self, gate: int, value: float) -> None:
        self.bias.view(self.form.num_gates, -1)[gate].fill_(value)

    def input_gates(self, inputs: Float[Tensor, "batch time feature"]) -> Float[Tensor, "batch time band gate_unit"]:
        """Returns the inputs' share of every gate, W x[t] + b, for all steps at once."""
        if self.input_product is not None:
            return self.input_product(inputs).unsqueeze(2)
        return linear(inputs, self.input_weight, self.bias).unsqueeze(2)

    def unit_weights(self) -> Float[Tensor, "weight band unit"] | None:
        """Returns the weights that act on single units, in the order in which the step takes them."""
        return None

    def projection(self) -> Float[Tensor, "recurrent unit"] | None:
        """Returns the weights between the step's output and the recurrent output, where they differ."""
        return None

    def forward(
        self,
        inputs: Float[Tensor, "batch time feature"],
        state: tuple[Tensor, ...] | None = None,
        *,
        generator: Generator | None = None,
    ) -> tuple[Float[Tensor, "batch time hidden"], tuple[Tensor, ...]]:
        """Run the layer over `inputs` from `state`; None starts from the initial state.

        The state is the output and, where the cell has one, the inner cell: each [batch, hidden]. Raises ValueError
        for inputs of another width.
        """
        self.check_inputs(inputs)
        choice = self.choose(*inputs.shape[:2])
        if choice.runner == "builtin":
            return self.run_builtin(inputs, state)
        in_bytes = choice.precision == torch.int8
        recurrence = self.recurrence(self.input_gates(inputs), state, generator=generator, in_bytes=in_bytes)
        outputs, state = scan(recurrence, choice)
        return outputs.flatten(2), tuple(part.flatten(1) for part in state)

    def check_inputs(self, inputs: Float[Tensor, "batch time feature"]) -> None:
        """Raise ValueError for inputs of another width than the cell was built for."""
        if inputs.shape[-1] != self.input_size:
            raise ValueError(
                f"{type(self).__name__}: inputs of {inputs.shape[-1]} features; expected {self.input_size}, as built"
            )

    def choose(self, batch: int, steps: int, *, directions: int = 1) -> Choice:
        """Returns what runs the cell here over so many utterances and steps, under the autocast of now.

        With two directions it is asked for both cells of a layer.
        """
        weight = self.recurrent_weight
        case = Case(
            self.form, weight.device, weight.dtype, asked_precision(weight), batch, steps, weight.shape[1],
            bands=self.num_bands, directions=directions, zoneout=self.options.zoneout > 0,
            gradients=torch.is_grad_enabled(), has_builtin=self.has_builtin(),
            has_bytes=self.recurrent_bytes is not None, path=self.path,
        )  # fmt: skip
        return choose_here(case)

    def has_builtin(self) -> bool:
        """Returns whether PyTorch has a layer with these equations and options."""
        return False

    def run_builtin(
        self, inputs: Float[Tensor, "batch time feature"], state: tuple[Tensor, ...] | None
    ) -> tuple[Float[Tensor, "batch time hidden"], tuple[Tensor, ...]]:
        """Run PyTorch's own layer, where there is one."""
        raise NotImplementedError(
            f"{type(self).__name__}: PyTorch has no layer of these equations; override has_builtin too"
        )

    def recurrence(
        self,
        gates: Float[Tensor, "batch time band gate_unit"],
        state: tuple[Tensor, ...] | None = None,
        *,
        generator: Generator | None = None,
        in_bytes: bool = False,
    ) -> Recurrence:
        """Returns what the scan needs for inputs whose share of the gates is known, with dropout and zoneout drawn.

        With `in_bytes` the recurrent weights are the integers that quantization made of them.
        """
        batch, time = gates.shape[:2]
        if state is None:
            state = tuple(part.expand(batch, -1) for part in self.initial_state)
        of_bytes = self.recurrent_bytes if in_bytes else None
        return Recurrence(
            form=self.form,
            gates=gates,
            recurrent_weight=self.recurrent_weight if of_bytes is None else of_bytes.weight,
            scales=None if of_bytes is None else of_bytes.scales,
            state=tuple(part.reshape(batch, self.num_bands, -1) for part in state),
            weights=self.unit_weights(),
            projection=self.projection(),
            mask=self._dropout_mask(batch, generator),
            noise=self._zoneout_noise(batch, time, generator),
        )

    def is_bounded(self) -> bool:
        """Returns whether 8 bits of a fixed scale do for the outputs, from the first state on."""
        return self.form.bounded and self.num_bands == 1 and not self.options.learnt_initial_state

    def is_hooked(self) -> bool:
        """Returns whether somebody waits for this module to be called."""
        return bool(self._forward_hooks or self._forward_pre_hooks)

    def _dropout_mask(self, batch: int, generator: Generator | None) -> Tensor | None:
        rate = self.options.recurrent_dropout
        if not self.training or rate == 0.0:
            return None
        keep = self.bias.new_full((batch, self.num_bands, self.recurrent_size), 1.0 - rate)
        return torch.bernoulli(keep, generator=generator) / (1.0 - rate)

    def _zoneout_noise(self, batch: int, time: int, generator: Generator | None) -> Tensor | None:
        rate = self.options.zoneout
        if rate == 0.0:
            return None
        shape = (batch, time, self.num_bands, self.form.num_states, self.options.hidden_size)
        if not self.training:
            return self.bias.new_full(shape[-1:], rate).expand(shape)
        return torch.bernoulli(self.bias.new_full(shape, rate), generator=generator)
