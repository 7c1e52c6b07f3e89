"""Phrases to say first, push-to-talk, and what a person reads."""

import io
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from asr.grammar.file import GrammarError
from asr.live import run as live_run
from asr.live.background import in_background
from asr.live.config import ListenConfig
from asr.live.display import JSONLines, Lines, as_line, cut_to, decibels, meter
from asr.live.run import Presses, listen_to, talk
from asr.live.session import FellAsleep, Heard, Session, Woke, with_wake_phrases
from asr.recognition.stream import Final, Partial, Rejected, SpeechBegan
from asr.recognizer import Recognizer, Transcription
from asr.understanding.rejection import Rejection
from asr.understanding.result import CommandSearch
from tests.grammar.test_templates import write_grammar
from tests.recognition.test_stream import GRAMMAR, said
from tests.support.small_run import write_small_run
from tests.support.tone_recognizer import train_tone_recognizer
from tests.support.tones import SAMPLE_RATE


@pytest.fixture(scope="module")
def free() -> Recognizer:
    return train_tone_recognizer()


def only(recognizer: Recognizer, folder: Path, text: str, *, threshold: float = -20.0) -> Recognizer:
    grammar = write_grammar(folder, text)
    return recognizer.with_commands(
        CommandSearch.load(grammar, recognizer.tokenizer, rejection=Rejection(threshold=threshold))
    )


WAKE = "language: en\nintents:\n  Wake: {data: [{sentences: [dac dac]}]}\n"


@pytest.fixture(scope="module")
def pair(free: Recognizer, tmp_path_factory: pytest.TempPathFactory) -> tuple[Recognizer, Recognizer]:
    """Commands, and the phrase to say first."""
    return (
        only(free, tmp_path_factory.mktemp("commands"), GRAMMAR),
        only(free, tmp_path_factory.mktemp("wake"), WAKE, threshold=4.0),
    )


def config(**values: object) -> ListenConfig:
    return ListenConfig(model="runs/x", **values)  # type: ignore[arg-type]


def heard(session: Session, samples: np.ndarray) -> list[Heard]:
    pieces = np.split(samples, range(400, len(samples), 400))
    return [event for piece in pieces for event in session.push(piece)] + list(session.finish())


def ends(events: list[Heard]) -> list[Heard]:
    return [event for event in events if not isinstance(event, SpeechBegan | Partial)]


def test_a_command_follows_its_phrase(pair: tuple[Recognizer, Recognizer]) -> None:
    samples = said(0.6, "cd ba", 0.4, "dac dac", 0.4, "cd dac", 0.9, "cd ba", 1.0)
    events = heard(Session(pair[0], config(), wake=pair[1]), samples)
    woke, final = ends(events)
    assert isinstance(woke, Woke)
    assert woke.phrase == "dac dac"
    assert isinstance(final, Final)
    assert final.result.command is not None
    assert final.result.command.slots == {"what": "dac"}
    assert events[0] == woke  # nothing is said of what came before it


def test_without_a_command_it_falls_asleep(pair: tuple[Recognizer, Recognizer]) -> None:
    samples = said(0.6, "dac dac", 3.0, "cd ba", 1.0)
    woke, asleep = ends(heard(Session(pair[0], config(wake_seconds=2.0), wake=pair[1]), samples))
    assert isinstance(woke, Woke)
    assert isinstance(asleep, FellAsleep)
    assert asleep.end == pytest.approx(woke.end + 2.0, abs=0.06)


def test_a_rejected_command_may_be_said_again(pair: tuple[Recognizer, Recognizer], tmp_path: Path) -> None:
    strict = only(pair[0], tmp_path, GRAMMAR, threshold=4.0)
    samples = said(0.6, "dac dac", 0.6, "bad bad bad", 1.4, "cd ba", 1.0)
    found = ends(heard(Session(strict, config(), wake=pair[1]), samples))
    assert [type(each) for each in found] == [Woke, Rejected, Final]


def test_phrases_are_words_a_file_or_a_grammar(tmp_path: Path) -> None:
    run = write_small_run(tmp_path / "small").path
    recognizer = Recognizer.load(run)
    (tmp_path / "phrases.txt").write_text("turn the light on\nstop\n")
    (tmp_path / "grammar.yaml").write_text("language: en\nintents:\n  Wake: {data: [{sentences: [stop]}]}\n")
    assert with_wake_phrases(recognizer, config()) is None

    def sentences(wake: str) -> list[str]:
        found = with_wake_phrases(recognizer, config(wake=wake, commands="x").model_copy(update={"model": str(run)}))
        assert found is not None
        assert found.commands is not None
        return [" ".join(words) for words, _ in found.commands.graph.sentences()]

    assert sentences("stop | turn on") == ["stop", "turn on"]
    assert sentences(str(tmp_path / "phrases.txt")) == ["stop", "turn the light on"]
    assert sentences(str(tmp_path / "grammar.yaml")) == ["stop"]
    with pytest.raises(GrammarError, match="no such file"):
        sentences(str(tmp_path / "none.yaml"))
    with pytest.raises(GrammarError, match=r"wake_phrases\.txt:1: 'turn \[on\]' has a sign of templates"):
        sentences("turn [on]")


class Pressed:
    """Enter, pressed before the blocks of these numbers."""

    def __init__(self, *numbers: int, is_over_at: int | None = None) -> None:
        self.numbers, self.block, self.is_over_at = numbers, -1, is_over_at

    def take(self) -> bool:
        self.block += 1
        return self.block in self.numbers

    @property
    def is_over(self) -> bool:
        return self.is_over_at is not None and self.block >= self.is_over_at


@pytest.mark.parametrize("is_released", [True, False])
def test_push_to_talk_hears_what_is_between_two_presses(free: Recognizer, is_released: bool) -> None:
    samples = said(0.6, "ab", 0.5, "cd", 0.6, "bad", 0.6)
    size = SAMPLE_RATE // 50
    blocks = [samples[start : start + size] for start in range(0, len(samples), size)]
    second = round((0.6 + 3 * 0.12 + 0.25) * 50)  # between "ab" and "cd"
    presses = Pressed(second, *([second + 40] if is_released else []))
    out = io.StringIO()
    talk(free, blocks, Lines(out), config=config(), presses=presses)  # type: ignore[arg-type]
    lines = out.getvalue().splitlines()
    assert len(lines) == 1
    assert lines[0].startswith("cd  (" if is_released else "cd bad  (")


def test_push_to_talk_ends_with_its_terminal(free: Recognizer) -> None:
    def endless() -> Iterator[np.ndarray]:
        while True:
            yield np.zeros(160, np.float32)

    talk(free, endless(), Lines(io.StringIO()), config=config(), presses=Pressed(is_over_at=5))


def test_presses_are_lines() -> None:
    presses = Presses(io.StringIO("\n\n"))
    for thread in threading.enumerate():
        if thread.name == "Enter":
            thread.join(5)
    assert [presses.take(), presses.take(), presses.take()] == [True, True, False]
    assert presses.is_over


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_a_terminal_shows_words_in_place_and_a_line_a_sentence(
    free: Recognizer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "60")
    out = Terminal()
    display = Lines(out)
    samples = said(0.6, "ab cab bad", 1.2)
    blocks = np.split(samples, range(400, len(samples), 400))
    listen_to(Session(free, config()), blocks, display)
    display.close()
    shown = out.getvalue()
    assert shown.count("\n") == 1
    assert "\r\x1b[Kab cab bad  (" in shown
    assert "ab \x1b[2mcab" in shown  # not yet stable
    assert "[##" in shown
    assert shown.endswith("\r\x1b[K")


def test_what_fits_on_a_line() -> None:
    assert cut_to("one two", 5) == "one t"
    assert cut_to("a \x1b[2mbcd\x1b[0m", 3) == "a \x1b[2mb"
    assert cut_to("日本語", 4) == "日本"


def test_levels() -> None:
    assert decibels(np.full(100, 0.1, np.float32)) == -20
    assert decibels(np.zeros(0, np.float32)) == decibels(np.zeros(9, np.float32)) == -60
    assert meter(-60) == "[          ] -60 dB"
    assert meter(-30) == "[#####     ] -30 dB"
    assert meter(0) == "[##########]   0 dB"


def test_lines_of_events(pair: tuple[Recognizer, Recognizer]) -> None:
    final = Final(0.0, 1.0, Transcription("light on", (), -1.0, (), 0.9), "silence")
    assert as_line(final) == "light on  (0.90)"
    assert as_line(replace(final, result=replace(final.result, text=""))) == ""
    assert as_line(Woke("hey coffee", 1.0)) == "hey coffee: yes?"
    assert as_line(FellAsleep(1.0)) == "(no command followed)"
    assert as_line(SpeechBegan(0.0)) == ""
    command = pair[0].transcribe(said(0.3, "cd ba", 0.3), sample_rate=SAMPLE_RATE)
    assert as_line(replace(final, result=command)).startswith('Long what="ba"  (')
    assert as_line(Rejected(0.0, 1.0, command, "silence")) == "not understood: cd ba; the nearest is: cd ba"


def test_events_are_json_lines() -> None:
    out = io.StringIO()
    display = JSONLines(out)
    for event in (SpeechBegan(0.25), Partial(("a", "b"), 1, 1 / 3), Woke("hey", 1.0), FellAsleep(2.0)):
        display.show(event)
    display.show_level(np.zeros(5, np.float32), sample_rate=SAMPLE_RATE)
    display.close()
    assert out.getvalue().splitlines() == [
        '{"event": "speech_began", "start": 0.25}',
        '{"event": "partial", "words": ["a", "b"], "num_stable": 1, "end": 0.3333}',
        '{"event": "woke", "phrase": "hey", "end": 1.0}',
        '{"event": "fell_asleep", "end": 2.0}',
    ]


def test_what_waits_is_dropped_when_it_is_too_much(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("asr.live.background.MOST_WAITING", 3)
    done = threading.Event()

    def blocks() -> Iterator[np.ndarray]:
        for number in range(6):
            yield np.full(10, number, np.float32)
        done.set()

    found = in_background(blocks())
    first = next(found)
    assert done.wait(5)
    taken = [first, *found]
    assert [int(block[0]) for block in taken][:3] == [0, 1, 2]
    assert len(taken) < 6
    assert f"dropped: {60 - 10 * len(taken)} samples; this machine" in capsys.readouterr().err


def test_a_fault_of_the_thread_is_raised_where_it_is_read() -> None:
    def failing(error: Exception) -> Iterator[np.ndarray]:
        yield np.zeros(1, np.float32)
        raise error

    with pytest.raises(ValueError, match="unplugged"):
        list(in_background(failing(ValueError("unplugged"))))


def test_it_listens_to_a_microphone_until_enter_s_lines_end(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = write_small_run(tmp_path / "small").path
    monkeypatch.setattr(live_run, "Presses", lambda lines: Pressed(is_over_at=2))
    silence = tmp_path / "silence.wav"
    import soundfile

    soundfile.write(silence, np.zeros(16_000, np.int16), 16_000)
    values = {"model": str(run), "source": str(silence), "fast": True, "push_to_talk": True}
    assert live_run.run(values, []) == 0
    assert "press Enter to speak" in capsys.readouterr().err
