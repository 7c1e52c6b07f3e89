"""What samplers and early ends find for the same compute, on a table of trainings that were all done:

    python -m tests.bench.tuning table runs/tuning_table.jsonl
    python -m tests.bench.tuning compare runs/tuning_table.jsonl

`table` trains a tiny model on a corpus of tones (tests/support/tones.py) with every point of a grid, and keeps the dev
loss after each epoch; the same command goes on where it was interrupted. `compare` lets each method choose from the
table, looks up instead of training, and counts epochs: so many studies cost nothing. A row is the mean over studies of
how far the best finished trial's loss is above the table's smallest, with its 95 % interval (bootstrap).
"""

import argparse
import contextlib
import io
import itertools
import json
import tempfile
from pathlib import Path

import numpy as np
import optuna

from asr.config.reading import read_values
from asr.config.recognizer import load_config
from asr.process.distributed import start_processes
from asr.training.loop import train
from asr.tuning.child import read_epochs
from asr.tuning.space import Choice, TuningSpace, configure, grid
from asr.tuning.storage import make_pruner, make_sampler
from tests.support.tones import write_config, write_split

EPOCHS = 9
SPACE = TuningSpace.model_validate(
    {
        "space": {
            "optim.learning_rate": {"choices": (0.001, 0.002, 0.004, 0.008, 0.016, 0.032, 0.064, 0.128)},
            "encoder.cell.hidden_size": {"choices": (8, 16, 32)},
            "encoder.dropout": {"choices": (0.0, 0.2, 0.5)},
            "optim.clip_norm": {"choices": (0.3, 5.0)},
        }
    }
)
# The same points for a sampler that knows which value is beside which: the place of each value.
PLACES = {key: len(dimension.choices or ()) - 1 for key, dimension in SPACE.space.items()}
METHODS = {
    "random": ("random", "none"),
    "random, median": ("random", "median"),
    "random, hyperband": ("random", "hyperband"),
    "TPE": ("tpe", "none"),
    "TPE, median": ("tpe", "median"),
    "TPE, hyperband": ("tpe", "hyperband"),
}
BUDGETS = (5, 10, 20)  # whole trainings


def make_table(path: Path) -> None:
    """Trains what is not in the file yet and adds a line for each point."""
    done = {json.dumps(each["point"]) for each in read_table(path)} if path.exists() else set()
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        corpus = Path(folder)
        write_split(corpus, "train", 40, seed=1)
        write_split(corpus, "dev", 40, seed=2)
        config_path = write_config(corpus / "tones.yaml", corpus)
        base = read_values(config_path, [f"train.max_epochs={EPOCHS}", "run_dir=none", "tracking.num_utterances=0"])
        points = grid(SPACE, configure(base, {}, where="tones"), where="tones")
        for number, point in enumerate(points):
            if json.dumps(point) not in done:
                curve = train_point(corpus / f"run-{number}", base, point)
                with path.open("a") as file:
                    file.write(json.dumps({"point": point, "loss": curve}) + "\n")
                print(f"{number + 1}/{len(points)} {point}: {curve[-1]:.3f}", flush=True)


def train_point(run: Path, base: dict[str, object], point: dict[str, Choice]) -> list[float]:
    """Returns the dev loss after each epoch."""
    config = configure(base, {**point, "run_dir": str(run)}, where="tones")
    processes = start_processes("cpu")
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            train(config, processes)
    finally:
        processes.close()
    curve = [epoch.figures["loss"] for epoch in read_epochs(run)]
    if len(curve) < EPOCHS:
        raise SystemExit("stopped; the same command goes on")
    return curve


def read_table(path: Path) -> list[dict[str, list[float]]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def study(table: dict[str, list[float]], *, method: str, seed: int) -> list[float]:
    """Returns the smallest final loss of finished trials after each epoch of the budget; infinite before the first."""
    sampler, pruner = METHODS[method]
    space = SPACE.model_copy(update={"sampler": sampler, "pruner": pruner, "seed": seed, "startup_trials": 5})
    config = load_config("conf/bilstm_ctc.yaml", [f"train.max_epochs={EPOCHS}"])
    made = optuna.create_study(pruner=make_pruner(space, config), study_name=f"{method} {seed}")
    best, found = float("inf"), []
    for number in itertools.count():
        if len(found) >= EPOCHS * BUDGETS[-1]:
            return found[: EPOCHS * BUDGETS[-1]]
        made.sampler = make_sampler(space, number=number)
        trial = made.ask()
        places = {key: trial.suggest_int(key, 0, last) for key, last in PLACES.items()}
        curve = table[json.dumps({key: (SPACE.space[key].choices or ())[place] for key, place in places.items()})]
        is_ended = False
        for epoch, loss in enumerate(curve, start=1):
            trial.report(loss, epoch)
            is_last = epoch == EPOCHS
            best = min(best, loss) if is_last else best
            found.append(best)
            is_ended = not is_last and trial.should_prune()
            if is_ended:
                break
        made.tell(trial, None if is_ended else curve[-1], optuna.trial.TrialState.PRUNED if is_ended else None)
    raise AssertionError


def compare(path: Path, *, num_studies: int) -> None:
    """Prints a row of the comparison for each method."""
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    lines = read_table(path)
    table = {json.dumps(each["point"]): each["loss"] for each in lines}
    smallest = min(curve[-1] for curve in table.values())
    final = sorted(curve[-1] for curve in table.values())
    print(f"{len(table)} points, final loss {final[0]:.3f}, median {final[len(final) // 2]:.3f}, {final[-1]:.3f}")
    generator = np.random.default_rng(0)
    print("| method | " + " | ".join(f"{budget} trainings" for budget in BUDGETS) + " |\n|---|" + "---|" * len(BUDGETS))
    for method in METHODS:
        regrets = np.array([study(table, method=method, seed=seed) for seed in range(num_studies)]) - smallest
        cells = []
        for budget in BUDGETS:
            values = regrets[:, EPOCHS * budget - 1]
            means = generator.choice(values, size=(2000, num_studies)).mean(axis=1)
            low, high = np.quantile(means, [0.025, 0.975])
            cells.append(f"{values.mean():.3f} ({low:.3f} to {high:.3f})")
        print(f"| {method} | " + " | ".join(cells) + " |", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("table", "compare"))
    parser.add_argument("table", type=Path)
    parser.add_argument("--studies", type=int, default=40, help="of each method (default: 40)")
    options = parser.parse_args()
    if options.what == "table":
        make_table(options.table)
    else:
        compare(options.table, num_studies=options.studies)


if __name__ == "__main__":
    main()
