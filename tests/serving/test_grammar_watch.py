"""A grammar that changes while a server runs."""

import time
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest

from asr.recognizer import Recognizer
from tests.support.served import Served, serving
from tests.support.small_run import write_small_run

GRAMMAR = "language: en\nintents:\n  {}:\n    data:\n      - sentences: [{}]\n"
LIGHTS = GRAMMAR.format("Light", "turn the light on, stop")
MUSIC = GRAMMAR.format("Music", "play some music")
BROKEN = ("intents: [", GRAMMAR.format("Music", '"play {unknown}"'), "\x00")


def wait_for(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline, "it never came to that"
        time.sleep(0.02)


def write(path: Path, content: str) -> None:
    """As editors do it: another file takes the place of the old one."""
    beside = path.with_suffix(".new")
    beside.write_text(content)
    beside.replace(path)


def grammar(served: Served) -> str:
    return httpx.get(served.url + "/health").json()["grammar"]


def meanings(served: Served, text: str) -> list[str]:
    commands = served.service.recognizer.commands
    assert commands is not None
    return [each.intent for each in commands.meanings(text)]


def test_a_new_grammar_is_swapped_in_and_a_broken_one_changes_nothing(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    pytest.importorskip("hassil", reason="needs the extra commands")
    run, path = write_small_run(tmp_path / "run"), tmp_path / "home.yaml"
    write(path, LIGHTS)
    recognizer = Recognizer.load(run.path, commands=path)
    with serving(recognizer, run=run.path, commands=path, watch_seconds=0.05) as served:
        first = grammar(served)
        assert meanings(served, "stop") == ["Light"]
        write(path, MUSIC)
        wait_for(lambda: grammar(served) != first)
        assert (meanings(served, "stop"), meanings(served, "play some music")) == ([], ["Music"])
        second = grammar(served)
        for broken in BROKEN:
            caplog.clear()
            write(path, broken)
            wait_for(lambda: "not taken, and the grammar of before stays" in caplog.text)
            assert str(path) in caplog.text
            assert grammar(served) == second
        caplog.clear()
        path.unlink()
        wait_for(lambda: "not taken" in caplog.text)
        assert meanings(served, "play some music") == ["Music"]
        write(path, LIGHTS)
        wait_for(lambda: grammar(served) == first)
    figures = served.service.metrics.text().decode()
    assert 'earshot_grammar_swaps_total{result="swapped"} 2.0' in figures
    assert 'earshot_grammar_swaps_total{result="refused"} 4.0' in figures
