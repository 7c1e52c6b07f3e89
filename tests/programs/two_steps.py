"""Two steps and a dev scoring of every conf/*.yaml, on small made data: python -m tests.programs.two_steps FOLDER

Encoders, cells, heads and sizes are those of the file; corpus, tokenizer and augmentation are not, and no weights are
taken from other runs. Prints a line for each configuration. Exit code: how many failed.
"""

import argparse
import contextlib
import io
import logging
import sys
import time
import traceback
from pathlib import Path

from tests.support.tones import write_tone_corpus

WITH_DROPOUT = ("encoder.cell.recurrent_dropout=0.2", "train.precision=bf16")  # scored by another path than trained


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m tests.programs.two_steps", description=(__doc__ or "").split(":")[0]
    )
    parser.add_argument("folder", type=Path, help="an empty one, for the data and the runs")
    parser.add_argument("confs", type=Path, nargs="*", help="default: all of conf/")
    options = parser.parse_args(arguments)
    corpus = write_tone_corpus(options.folder, num_train=8, num_dev=2)
    confs = options.confs or sorted(Path("conf").glob("*.yaml"))
    trainings: list[tuple[Path, tuple[str, ...]]] = [
        (conf, ()) for conf in confs if "\ndata:" in conf.read_text(encoding="utf-8")
    ]
    trainings.append((Path("conf/bilstm_ctc.yaml"), WITH_DROPOUT))
    failed = [conf for conf, overrides in trainings if not train(conf, overrides, corpus)]
    print(f"{len(trainings) - len(failed)} of {len(trainings)} configurations take two steps", flush=True)
    return len(failed)


def train(conf: Path, overrides: tuple[str, ...], corpus: Path) -> bool:
    """Whether two steps of this configuration and what follows go well; says so in a line."""
    from asr.train import main as asr_train

    started, said = time.perf_counter(), io.StringIO()
    name = " ".join((conf.stem, *overrides))
    words = [str(conf), *of_small_data(conf, corpus), *overrides, f"run_dir={corpus}/{name.replace(' ', '-')}"]
    try:
        with contextlib.redirect_stdout(said):
            code = asr_train(words)
    except (RuntimeError, ValueError, OSError):  # the next configuration is to be tried all the same
        print(f"  {name}: FAILED\n{said.getvalue()}{traceback.format_exc()}", flush=True)
        return False
    line = next((line for line in said.getvalue().splitlines() if line.startswith("precision: ")), "counted")
    print(f"  {name}: {time.perf_counter() - started:.1f} s, {line}", flush=True)
    return code == 0


def of_small_data(conf: Path, corpus: Path) -> list[str]:
    """The overrides that put small data in the place of a configuration's own."""
    data = [f"data.train=[{{manifest: {corpus}/train.jsonl}}]", f"data.dev={{manifest: {corpus}/dev.jsonl}}"]
    text = conf.read_text(encoding="utf-8")
    if "kind: ngram" in text:
        return [*data, "tokenizer={kind: char}"]
    loop = ["train.max_steps=2", "train.device=cpu", "tracking={trackers: [jsonl]}", "tokenizer={kind: char}"]
    if "kind: language_model" in text:
        return [*data, *loop]
    return [*data, *loop, "data.num_workers=0", "augment=[]", "init_from=null", "features.sample_rate=8000"]


if __name__ == "__main__":
    logging.captureWarnings(True)
    sys.exit(main())
