"""Measures how long each cell remembers: two tasks at growing lags, and how much gradient comes back over so many
steps.
"""

import json
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, get_args, runtime_checkable

import torch
from jaxtyping import Float, Int
from pydantic import Field, model_validator
from torch import Generator, Tensor, nn
from torch.nn import functional as F

from asr.files.checked_json import check_values
from asr.files.json_lines import LineError, parse_object
from asr.files.replacing import split_lines
from asr.model.cells import CellConfig, ConvLSTMConfig, ProjectedLSTMConfig
from asr.runs.checkpoint import write_text
from asr.section import Section

EMBEDDING_SIZE = 16
NUM_SYMBOLS, NUM_RECALLED = 8, 10  # of the copy memory
NUM_TEST_BATCHES = 4
SMALLEST_UNITS, LARGEST_UNITS = 4, 1024


def every_cell() -> tuple[CellConfig, ...]:
    """Returns one of each kind, as it is by default; the convolutional one over bands that divide the inputs."""
    kinds = get_args(get_args(CellConfig)[0])
    return tuple(kind(num_bands=4) if kind is ConvLSTMConfig else kind() for kind in kinds)


class LongLagConfig(Section):
    """The probe's cells and its budget."""

    cells: tuple[CellConfig, ...] = Field(
        default_factory=every_cell,
        min_length=1,
        description="their hidden sizes are solved, all else is kept",
    )
    num_parameters: int = Field(20_000, ge=1, description="of each cell, nearly")
    lags: tuple[int, ...] = Field((10, 30, 100, 300, 1000), min_length=1, description="steps, growing")
    num_steps: int = Field(400, ge=1, description="optimizer steps for each cell, task and lag")
    batch_size: int = Field(16, ge=1, description="sequences in each step")
    learning_rate: float = Field(3e-3, gt=0.0, description="of Adam")
    seed: int = Field(0, ge=0, description="of the weights and of the sequences")

    @model_validator(mode="after")
    def _lags_grow_and_bands_fit(self) -> "LongLagConfig":
        if sorted(set(self.lags)) != list(self.lags) or self.lags[0] < 4:
            raise ValueError(f"lags: {list(self.lags)}; expected growing numbers of steps, the first at least 4")
        for cell in self.cells:
            if isinstance(cell, ConvLSTMConfig) and EMBEDDING_SIZE % cell.num_bands:
                raise ValueError(
                    f"cells: num_bands {cell.num_bands} does not divide {EMBEDDING_SIZE} inputs; choose 1, 2, 4 or 8"
                )
        kinds = [cell.kind for cell in self.cells]
        if len(set(kinds)) < len(kinds):
            raise ValueError(f"cells: {', '.join(kinds)}; expected each kind once")
        return self

    def quick(self) -> "LongLagConfig":
        """Returns the same with lags up to 100 and few steps: a look in a minute, not a result."""
        lags = tuple(lag for lag in self.lags if lag <= 100) or self.lags[:1]
        return self.model_copy(update={"lags": lags, "num_steps": min(self.num_steps, 60)})


@runtime_checkable
class LagTask(Protocol):
    """Sequences to remember something in."""

    name: str
    num_inputs: int
    num_outputs: int

    def batch(self, lag: int, size: int, generator: Generator) -> tuple[Tensor, Tensor]: ...

    def loss(self, outputs: Tensor, targets: Tensor) -> Tensor: ...

    def error(self, outputs: Tensor, targets: Tensor) -> float: ...

    def error_of_nothing(self, targets: Tensor) -> float:
        """Returns the error of the best answer that is given without any memory."""
        ...


class AddingProblem:
    """Add the two marked numbers of a sequence, both in its first half.

    Hochreiter & Schmidhuber 1997, "Long Short-Term Memory", experiment 4, with numbers from 0 to 1 as in Le, Jaitly &
    Hinton 2015. The error is the mean square; who remembers nothing does best to answer 1, and has one of about 1/6.
    """

    name = "adding problem"
    num_inputs, num_outputs = 2, 1

    def batch(
        self, lag: int, size: int, generator: Generator
    ) -> tuple[Float[Tensor, "batch time 2"], Float[Tensor, " batch"]]:
        """Sequences of `lag` steps: a number and a mark, [0.3, 0] [0.9, 1] ..., and the sums."""
        numbers = torch.rand(size, lag, generator=generator)
        half = max(2, lag // 2)
        first = torch.randint(half, (size,), generator=generator)
        second = (first + torch.randint(1, half, (size,), generator=generator)) % half
        marks = F.one_hot(first, lag) + F.one_hot(second, lag)
        return torch.stack((numbers, marks.to(numbers.dtype)), dim=-1), (numbers * marks).sum(dim=1)

    def loss(self, outputs: Float[Tensor, "batch time 1"], targets: Float[Tensor, " batch"]) -> Float[Tensor, ""]:
        return F.mse_loss(outputs[:, -1, 0], targets)

    def error(self, outputs: Float[Tensor, "batch time 1"], targets: Float[Tensor, " batch"]) -> float:
        return float(self.loss(outputs, targets))

    def error_of_nothing(self, targets: Float[Tensor, " batch"]) -> float:
        return float((targets - 1).square().mean())


class CopyMemory:
    """Say ten symbols again after so many blank steps.

    Hochreiter & Schmidhuber 1997; as in Arjovsky, Shah & Bengio 2016, "Unitary Evolution Recurrent Neural Networks",
    section 5.1. The error is the share of wrong symbols; that of guessing is 7/8.
    """

    name = "copy memory"
    num_inputs, num_outputs = NUM_SYMBOLS + 2, NUM_SYMBOLS

    def batch(
        self, lag: int, size: int, generator: Generator
    ) -> tuple[Float[Tensor, "batch time symbol"], Int[Tensor, "batch recalled"]]:
        """Returns one-hot inputs: s u r e t . . . . ! . . . . . asks for s u r e t in the steps after the mark."""
        symbols = torch.randint(NUM_SYMBOLS, (size, NUM_RECALLED), generator=generator)
        blank, mark = NUM_SYMBOLS, NUM_SYMBOLS + 1
        inputs = torch.full((size, NUM_RECALLED + lag + NUM_RECALLED), blank)
        inputs[:, :NUM_RECALLED] = symbols
        inputs[:, NUM_RECALLED + lag - 1] = mark
        return F.one_hot(inputs, self.num_inputs).float(), symbols

    def loss(
        self, outputs: Float[Tensor, "batch time symbol"], targets: Int[Tensor, "batch recalled"]
    ) -> Float[Tensor, ""]:
        return F.cross_entropy(outputs[:, -NUM_RECALLED:].flatten(0, 1), targets.flatten())

    def error(self, outputs: Float[Tensor, "batch time symbol"], targets: Int[Tensor, "batch recalled"]) -> float:
        return float((outputs[:, -NUM_RECALLED:].argmax(dim=-1) != targets).float().mean())

    def error_of_nothing(self, targets: Int[Tensor, "batch recalled"]) -> float:
        return (NUM_SYMBOLS - 1) / NUM_SYMBOLS


TASKS: tuple[LagTask, ...] = (AddingProblem(), CopyMemory())


class LagModel(nn.Module):
    """The same around every cell: a linear map in, one layer of the cell, a linear map out."""

    def __init__(self, cell: CellConfig, task: LagTask) -> None:
        super().__init__()
        self.embedding = nn.Linear(task.num_inputs, EMBEDDING_SIZE)
        self.cell = cell.build(EMBEDDING_SIZE)
        self.readout = nn.Linear(self.cell.output_size, task.num_outputs)

    def forward(self, inputs: Float[Tensor, "batch time input"]) -> Float[Tensor, "batch time output"]:
        return self.readout(self.cell(self.embedding(inputs))[0])


@dataclass(frozen=True)
class LagResult:
    """One cell trained on one task at one lag."""

    cell: str
    units: int
    task: str
    lag: int
    score: float  # 0: remembers all; 1: nothing
    gradient_at_start: tuple[tuple[int, float], ...]  # (steps back, norm), over the longest lag
    gradient_after: tuple[tuple[int, float], ...]


class LongLagError(ValueError):
    """Kept results that cannot be read; the message names their line."""


class _Kept(Section):
    """A line of what was measured already."""

    key: str
    score: float
    gradient_at_start: list[tuple[int, float]]
    gradient_after: list[tuple[int, float]]


def run_probe(config: LongLagConfig, path: Path) -> Iterator[LagResult]:
    """Yields every cell on every task at every lag, shortest lags first; what `path` already holds is read from there.

    `path` is JSON lines, one added for each result, each with the settings it was made with.
    """
    kept = _read_kept(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    settings = config.model_dump(include={"num_steps", "batch_size", "learning_rate", "seed"}, mode="json")
    settings["longest"] = config.lags[-1]
    for lag in config.lags:
        for task in TASKS:
            for cell in (fit_cell(cell, config.num_parameters) for cell in config.cells):
                key = json.dumps({"task": task.name, "lag": lag, "cell": cell.model_dump(mode="json"), **settings})
                if key not in kept:
                    values = _run_one(cell, task, lag, config)
                    with path.open("a", encoding="utf-8") as file:
                        file.write(json.dumps({"key": key, **values}) + "\n")
                        file.flush()
                    kept[key] = values
                values = kept[key]
                yield LagResult(
                    cell=cell.kind,
                    units=cell.hidden_size,
                    task=task.name,
                    lag=lag,
                    score=values["score"],
                    gradient_at_start=tuple((k, norm) for k, norm in values["gradient_at_start"]),
                    gradient_after=tuple((k, norm) for k, norm in values["gradient_after"]),
                )


def fit_cell(cell: CellConfig, num_parameters: int) -> CellConfig:
    """Returns the same cell with the hidden size that comes nearest to so many parameters; a projection is half as
    wide.
    """

    def sized(units: int) -> CellConfig:
        sizes = {"hidden_size": units}
        if isinstance(cell, ProjectedLSTMConfig):
            sizes["projection_size"] = units // 2
        return cell.model_copy(update=sizes)

    def count(units: int) -> int:
        with torch.device("meta"):
            built = sized(units).build(EMBEDDING_SIZE)
        return sum(parameter.numel() for parameter in built.parameters() if parameter.requires_grad)

    low, high = SMALLEST_UNITS, LARGEST_UNITS
    while high - low > 1:  # count(low) <= num_parameters, but for the smallest
        middle = (low + high) // 2
        low, high = (middle, high) if count(middle) <= num_parameters else (low, middle)
    return sized(min((low, high), key=lambda units: abs(count(units) - num_parameters)))


def _run_one(cell: CellConfig, task: LagTask, lag: int, config: LongLagConfig) -> dict:
    model = build_model(cell, task, config.seed)
    before = gradient_norms(model, task, config.lags[-1], config)
    generator = torch.Generator().manual_seed(config.seed)
    optimizer = torch.optim.Adam(model.parameters(), lr=config.learning_rate)
    model.train()
    for _ in range(config.num_steps):
        inputs, targets = task.batch(lag, config.batch_size, generator)
        optimizer.zero_grad(set_to_none=True)
        task.loss(model(inputs), targets).backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
    return {
        "score": score(model, task, lag, config),
        "gradient_at_start": before,
        "gradient_after": gradient_norms(model, task, config.lags[-1], config),
    }


def build_model(cell: CellConfig, task: LagTask, seed: int) -> LagModel:
    """Returns a model with weights of the seed; torch's own generator is left as it was."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return LagModel(cell, task)


@torch.no_grad()
def score(model: LagModel, task: LagTask, lag: int, config: LongLagConfig) -> float:
    """Returns the error on sequences that were not trained on, over that of remembering nothing of the
    same sequences.
    """
    generator = torch.Generator().manual_seed(config.seed + 1_000_003)
    model.eval()
    batches = [task.batch(lag, config.batch_size, generator) for _ in range(NUM_TEST_BATCHES)]
    errors = sum(task.error(model(inputs), targets) for inputs, targets in batches)
    return errors / sum(task.error_of_nothing(targets) for _, targets in batches)


def gradient_norms(
    model: LagModel, task: LagTask, longest: int, config: LongLagConfig
) -> tuple[tuple[int, float], ...]:
    """Returns how much the last output depends on what came in so many steps before: (steps back, norm), some forty of
    them.

    The norm of d(the cell's last output, along one random direction) / d(its input `k` steps before), averaged over
    sequences and divided by that at k = 0. It is what learning a lag of k steps has to live on.
    """
    generator = torch.Generator().manual_seed(config.seed + 2_000_003)
    inputs, _ = task.batch(max(longest, 4), config.batch_size, generator)
    model.eval()
    embedded = model.embedding(inputs).detach().requires_grad_()
    last = model.cell(embedded)[0][:, -1]
    direction = F.normalize(torch.randn(last.shape[1], generator=generator), dim=0)
    (gradient,) = torch.autograd.grad((last @ direction).sum(), embedded)
    norms = gradient.double().norm(dim=-1).mean(dim=0).flip(0)  # [steps back]
    wanted = sorted({min(longest - 1, round(10 ** (x / 39 * math.log10(longest)))) for x in range(40)} | {0})
    return tuple((k, float(norms[k] / norms[0].clamp_min(1e-300))) for k in wanted)


def _read_kept(path: Path) -> dict[str, dict]:
    """Returns the results of a file by their keys; a last line that a kill cut short is taken off, and made again.

    Raises LongLagError for any other line that is no result.
    """
    if not path.exists():
        return {}
    text = path.read_text(encoding="utf-8")
    whole = text[: text.rfind("\n") + 1]
    if whole != text:
        write_text(path, whole)
    kept, remedy = {}, "remove this line, and it is measured again"
    for number, line in enumerate(split_lines(whole), 1):
        where = f"{path}:{number}"
        try:
            values = parse_object(line, is_finite=False)
        except LineError as error:
            raise LongLagError(f"{where}: {error}; {remedy}") from error
        check_values(values, _Kept, where=where, error=LongLagError, remedy=remedy)
        kept[values.pop("key")] = values
    return kept


def table(results: Sequence[LagResult], task: str) -> tuple[list[str], list[list[str]]]:
    """Scores by cell and lag, for a report."""
    lags = sorted({result.lag for result in results})
    scores = {(result.cell, result.lag): result.score for result in results if result.task == task}
    units = {result.cell: result.units for result in results}
    rows = [
        [cell, str(number), *(f"{scores[cell, lag]:.3f}" if (cell, lag) in scores else "–" for lag in lags)]
        for cell, number in units.items()
    ]
    return ["cell", "units", *(f"lag {lag}" for lag in lags)], rows
