"""Writes a home's grammar, and with `watch` again whenever the home's names have changed."""

from __future__ import annotations

import sys
import time
from dataclasses import dataclass
from pathlib import Path

from asr.files.replacing import replacing
from asr.files.yaml import write_yaml
from asr.grammar.check import check_grammar
from asr.grammar.file import GrammarError
from asr.homes.home import read_home
from asr.homes.link import HomeError, HomeLink, HomeLost
from asr.homes.sentences import home_grammar

NUM_SHOWN = 20


@dataclass(frozen=True)
class Waits:
    """Seconds of the watch."""

    quiet: float = 2.0  # after a change, for more of them
    again: float = 300.0  # without a change: what is exposed may change without a word
    first: float = 1.0  # before another connection, twice as long each time
    most: float = 60.0


@dataclass(frozen=True)
class HomeImport:
    """Says which home is read, and what is written where."""

    url: str
    token: str
    output: Path
    domains: tuple[str, ...]
    language: str = "en"

    def once(self, link: HomeLink) -> bool:
        """Write the grammar of the home as it is now; returns whether the file has changed."""
        home = read_home(link, domains=self.domains, language=self.language)
        for text in home.left_out[:NUM_SHOWN]:
            print(f"left out: {text}", file=sys.stderr, flush=True)
        if len(home.left_out) > NUM_SHOWN:
            print(f"left out: {len(home.left_out) - NUM_SHOWN} more", file=sys.stderr, flush=True)
        if not home.entities:
            raise HomeError("home-assistant: no exposed entity can be said; expected names or aliases in words")
        values = home_grammar(home, domains=self.domains, language=self.language)
        header = (
            f"# The names of a home in Home Assistant, of {', '.join(self.domains)}; written anew at each import.\n"
        )
        text = header + write_yaml(values, width=120, default_flow_style=None)
        if self.output.is_file() and self.output.read_bytes() == text.encode():
            print(f"{self.output}: nothing has changed", flush=True)
            return False
        num_sentences = write_checked(self.output, text)
        print(
            f"{self.output}: {len(home.entities)} entities, {len(home.areas)} areas, {len(home.floors)} floors; "
            f"{num_sentences:,} sentences",
            flush=True,
        )
        return True


def write_checked(path: Path, text: str) -> int:
    """Write a grammar that `commands check` finds no fault in, and return the number of its sentences."""
    with replacing(path) as beside:
        beside.write_text(text, encoding="utf-8")
        try:
            report = check_grammar(beside)
        except GrammarError as error:
            raise GrammarError(str(error).replace(str(beside), str(path))) from error
        if report.faults:
            raise GrammarError("\n".join(report.faults).replace(str(beside), str(path)))
    return report.num_sentences


def import_home(job: HomeImport, *, watch: bool = False, waits: Waits | None = None) -> None:
    """Write a home's grammar, and with `watch` go on until the program is stopped."""
    with HomeLink(job.url, job.token) as link:
        if watch:
            link.subscribe()
        job.once(link)
        if not watch:
            return
        try:
            _follow(job, link, waits or Waits())
        except HomeLost as error:
            print(f"{error}; the file stays, and it is tried again", file=sys.stderr, flush=True)
    _follow_again(job, waits or Waits())


def _follow_again(job: HomeImport, waits: Waits) -> None:
    """Connect again and again, waiting longer each time until it works."""
    pause = waits.first
    while True:
        time.sleep(pause)
        pause = min(2 * pause, waits.most)
        try:
            with HomeLink(job.url, job.token) as link:
                link.subscribe()
                _write_if_sound(job, link)
                pause = waits.first
                _follow(job, link, waits)
        except HomeLost as error:
            print(f"{error}; the file stays, and it is tried again", file=sys.stderr, flush=True)


def _follow(job: HomeImport, link: HomeLink, waits: Waits) -> None:
    """Write the grammar anew after each change, for ever; HomeLost where the connection ends."""
    read = time.monotonic()
    while True:
        changed = link.wait_for_change(min(30.0, waits.again))
        if changed:
            while link.wait_for_change(waits.quiet):  # an edit is several events
                pass
        if changed or time.monotonic() - read > waits.again:
            _write_if_sound(job, link)
            read = time.monotonic()


def _write_if_sound(job: HomeImport, link: HomeLink) -> None:
    try:
        job.once(link)
    except (HomeError, GrammarError) as error:
        print(f"{error}; the file of before stays", file=sys.stderr, flush=True)
