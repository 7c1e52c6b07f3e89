"""Counts the files on the way of an utterance and of a recording: python -m tests.programs.walk FOLDER

One training of a single step with its scoring, and one transcription of a recording with commands, on a made corpus in
FOLDER, both in this process. A file is entered where a function of another file calls one of its functions; each pair
of functions counts once, so loops do not. Of each walk it prints how many files were entered, how many of their lines
there are, how many hops led from one file to another, and how many of these went back to a file entered before.
"""

import argparse
import collections
import contextlib
import io
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import Any

import asr
from tests.support.tones import CONFIG, write_tone_corpus

ROOT = Path(asr.__file__).resolve().parent
GRAMMAR = "language: en\nintents: {Go: {data: [{sentences: ['(ab|ba) (cab|bad)']}]}}\n"
TRAINING = ("train.max_epochs=1", "train.max_steps=1", "train.device=cpu", "tracking={trackers: [jsonl]}")


@dataclass
class Walk:
    """What was entered, in the order in which it was."""

    entries: collections.Counter[str] = field(default_factory=collections.Counter)  # by file, below asr/
    _pairs: set[tuple[Any, Any]] = field(default_factory=set)  # of functions, the caller and the called one

    def __str__(self) -> str:
        lines = sum((ROOT / name).read_text(encoding="utf-8").count("\n") for name in self.entries)
        hops = self.entries.total() - 1
        return f"{len(self.entries)} files, {lines} lines, {hops} hops, {hops - len(self.entries) + 1} returns"

    def follow(self, frame: FrameType, event: str, _: object) -> None:
        """For `sys.setprofile`."""
        if event != "call" or (name := _name(frame)) is None:
            return
        caller = frame.f_back
        while caller is not None and _name(caller) is None:
            caller = caller.f_back
        if caller is None and self.entries and threading.current_thread() is threading.main_thread():
            return
        pair = (None if caller is None else caller.f_code, frame.f_code)
        if pair in self._pairs or _is_importing(frame) or (caller is not None and _name(caller) == name):
            return
        self._pairs.add(pair)
        self.entries[name] += 1


def _name(frame: FrameType) -> str | None:
    """The frame's file below asr/; None for libraries, whose calls are passed through."""
    name = frame.f_code.co_filename
    return name[len(str(ROOT)) + 1 :] if name.startswith(f"{ROOT}/") else None


def _is_importing(frame: FrameType | None) -> bool:
    """Whether a module's own lines are being run, which are no step of the walk."""
    while frame is not None:
        if frame.f_code.co_name == "<module>" and _name(frame) is not None:
            return True
        frame = frame.f_back
    return False


@contextlib.contextmanager
def following() -> Iterator[Walk]:
    """Counts what is called within, in threads too."""
    walk = Walk()
    threading.setprofile(walk.follow)
    sys.setprofile(walk.follow)
    try:
        yield walk
    finally:
        sys.setprofile(None)
        threading.setprofile(None)


def walk_of(program: Callable[[list[str]], int], *arguments: str) -> Walk:
    """The walk of one run of a program, whose output is not shown. Raises RuntimeError where it fails."""
    said = io.StringIO()
    with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said), following() as walk:
        code = program(list(arguments))
    if code:
        raise RuntimeError(f"{' '.join(arguments)}: exit code {code}; expected 0: {said.getvalue()[-500:]}")
    return walk


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.programs.walk", description=(__doc__ or "").split(":")[0])
    parser.add_argument("folder", type=Path, help="an empty one, for the corpus, the run and the transcripts")
    parser.add_argument("--files", action="store_true", help="print each file too, and how often it is entered")
    options = parser.parse_args(arguments)
    from asr import train, transcribe

    folder = write_tone_corpus(options.folder, num_train=8, num_dev=2)
    (folder / "conf.yaml").write_text(CONFIG.format(folder=folder), encoding="utf-8")
    (folder / "grammar.yaml").write_text(GRAMMAR, encoding="utf-8")
    recording = str(sorted(folder.glob("**/*.wav"))[0])
    job = ["--output-dir", str(folder / "out"), "--commands", str(folder / "grammar.yaml"), "--num-workers", "1"]
    run = f"run_dir={folder / 'run'}"
    for title, walk in (
        ("an utterance, manifest to loss and WER", walk_of(train.main, str(folder / "conf.yaml"), run, *TRAINING)),
        ("a recording to its command", walk_of(transcribe.main, str(folder / "run"), recording, *job)),
    ):
        print(f"{title}: {walk}")
        for name, number in walk.entries.items() if options.files else ():
            print(f"  {number:3} {name}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
