"""Counts the files on the way of an utterance and of a recording: python -m tests.programs.walk FOLDER

One training of a single step with its scoring, and one transcription of a recording with commands, on a made corpus in
FOLDER, both in this process. A file is entered where a function of another file calls one of its functions; each pair
of functions counts once, so loops do not. Of each walk it prints how many files were entered, how many of their lines
there are, how many hops led from one file to another, and how many of these went back to a file entered before.

Then it counts only what a reader follows by name: no properties, no validators, hooks and gradients that a library
calls by itself, and a comprehension is a part of its function. Of these, the last figure is the utterance's own: what
is called to make its example and to compute its loss, without all that starts and ends a training.
"""

import argparse
import collections
import contextlib
import inspect
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
COMPREHENSIONS = {"<listcomp>", "<setcomp>", "<dictcomp>", "<genexpr>", "<lambda>"}  # frames of their own up to 3.11
GRAMMAR = "language: en\nintents: {Go: {data: [{sentences: ['(ab|ba) (cab|bad)']}]}}\n"
OF_UTTERANCE = {"StepDataset.__getitem__", "_losses"}  # of data/batches and training/loop
TRAINING = ("train.max_epochs=1", "train.max_steps=1", "train.device=cpu", "tracking={trackers: [jsonl]}")


@dataclass
class Walk:
    """What was entered, in the order in which it was."""

    entries: collections.Counter[str] = field(default_factory=collections.Counter)  # by file, below asr/
    named: list[str] = field(default_factory=list)  # the files entered by hops that a reader follows by name
    of_utterance: list[str] = field(default_factory=list)  # those of them within OF_UTTERANCE
    _pairs: set[tuple[Any, Any]] = field(default_factory=set)  # of functions, the caller and the called one
    _named_pairs: set[tuple[Any, Any, bool]] = field(default_factory=set)  # and whether within OF_UTTERANCE

    def __str__(self) -> str:
        lines = sum((ROOT / name).read_text(encoding="utf-8").count("\n") for name in self.entries)
        hops = self.entries.total() - 1
        every = f"{len(self.entries)} files, {lines} lines, {hops} hops, {hops - len(self.entries) + 1} returns"
        named = f"by name {len(set(self.named))} files, {len(self.named)} hops"
        return (
            f"{every}; {named}; an utterance alone {len(set(self.of_utterance))} files, {len(self.of_utterance)} hops"
        )

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
        if _is_importing(frame) or (caller is not None and _name(caller) == name):
            return
        if pair not in self._pairs:
            self._pairs.add(pair)
            self.entries[name] += 1
        if _is_named(frame):
            self._count_named(name, frame, outer(caller))

    def _count_named(self, name: str, frame: FrameType, caller: FrameType | None) -> None:
        """Counts a hop that a reader follows by name, once for all and once within OF_UTTERANCE."""
        within: FrameType | None = frame
        while within is not None and within.f_code.co_qualname not in OF_UTTERANCE:
            within = within.f_back
        for files, is_own in ((self.named, False), (self.of_utterance, True)):
            pair = (None if caller is None else caller.f_code, frame.f_code, is_own)
            if pair not in self._named_pairs and (within is not None or not is_own):
                self._named_pairs.add(pair)
                files.append(name)


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


def outer(frame: FrameType | None) -> FrameType | None:
    """Returns the frame of the function that a comprehension is in; a function's own is its own."""
    while frame is not None and frame.f_code.co_name in COMPREHENSIONS:
        frame = frame.f_back
    return frame


def _is_named(frame: FrameType) -> bool:
    """Whether a reader finds the call by its name, or Python or a library makes it by itself."""
    function, caller = frame.f_code, frame.f_back
    if function.co_name in COMPREHENSIONS or function.co_name == "backward":
        return False
    if "self" in frame.f_locals:
        member = inspect.getattr_static(type(frame.f_locals["self"]), function.co_name, None)
        if isinstance(member, property):
            return False
    if caller is None or _name(caller) is not None:
        return True
    return not caller.f_globals.get("__name__", "").startswith("pydantic") and "<locals>" not in function.co_qualname


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
