"""A worker without a model, light enough to be started a dozen times in a test, that dies when it is told to."""

import os
from collections.abc import Iterator
from pathlib import Path

from asr.engines.work import Outcome, Share
from asr.transcript import Transcript


class Moody:
    """A worker that hears a path's length, and dies over some: over `once` the first time, over `always` each time."""

    def __init__(self, number: int, marks: Path) -> None:
        if (marks / "refuse").exists():
            raise ValueError("not a run folder; expected one")
        if (marks / "stillborn").exists():
            os._exit(3)
        self.marks = marks

    def run(self, shares) -> Iterator[Outcome]:
        for share in shares:
            for item in share.items:
                mark = self.marks / f"{item.number}.tried"
                if item.stretch.path == "always" or (item.stretch.path == "once" and not mark.exists()):
                    mark.touch()
                    os._exit(9)
                if item.stretch.path == "raise":
                    raise RuntimeError("a mistake")
                yield Outcome(item.number, transcripts=(Transcript(item.stretch.path, 1.0, (), 1.0),))

    def __call__(self, share: Share) -> list[Outcome]:
        return list(self.run([share]))

    def close(self) -> None: ...


class MakeMoody:
    def __init__(self, marks: Path) -> None:
        self.marks = marks

    def __call__(self, number: int) -> Moody:
        return Moody(number, self.marks)
