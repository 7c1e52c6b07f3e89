"""The program that listens: files, raw samples and pipes in, lines and JSON out, and what it says without any."""

import io
import json
import os
import signal
import stat
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import soundfile

from asr.audio.reading import AudioError
from asr.config.reading import ConfigError
from asr.listen import main
from asr.live import sources
from asr.live.config import ListenConfig
from asr.live.pcm import SourceError, read_pcm
from asr.live.run import read_options
from asr.live.sources import open_source, play
from asr.recognizer import Recognizer
from tests.support.small_run import some_speech, write_small_run

ROOT = Path(__file__).resolve().parents[2]
BARISTA = ROOT / "recipes" / "barista_bilstm_ctc"
RATE = 16_000


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_small_run(tmp_path_factory.mktemp("runs") / "small").path


def as_int16(samples: np.ndarray) -> np.ndarray:
    return np.clip(np.round(samples * 32768), -32768, 32767).astype("<i2")


def some_words() -> np.ndarray:
    silence = (0.0005 * np.random.default_rng(0).standard_normal(RATE)).astype(np.float32)
    return np.concatenate((silence, 4 * some_speech(1, 1.2), silence, 4 * some_speech(2, 0.8), silence))


@pytest.fixture
def recording(tmp_path: Path) -> Path:
    soundfile.write(tmp_path / "words.wav", as_int16(some_words()), RATE)
    return tmp_path / "words.wav"


def events(capsys: pytest.CaptureFixture[str]) -> list[dict]:
    return [json.loads(line) for line in capsys.readouterr().out.splitlines()]


def test_a_command_in_a_file_is_a_line_of_json(capsys: pytest.CaptureFixture[str]) -> None:
    grammar = ROOT / "conf" / "commands" / "barista.yaml"
    model, order = BARISTA / "model_finetuned", BARISTA / "examples" / "latte.opus"
    options = ["--model", str(model), "--commands", str(grammar), "--as-fast-as-possible"]
    assert main([str(order), *options, "--json"]) == 0
    found = events(capsys)
    assert [each["event"] for each in found][:2] == ["speech_began", "partial"]
    final = found[-1]
    assert final["event"] == "final"
    assert (final["intent"], final["slots"]) == (
        "orderDrink",
        {"size": "large", "coffeeDrink": "latte", "sugarAmount": "a little bit of sugar"},
    )
    assert final["confidence"] > 0.5
    assert final["alternatives"][0]["text"] == final["text"] == "can i get a large latte with a little bit of sugar"
    assert [each["word"] for each in final["words"]] == final["text"].split()
    assert final["start"] <= final["words"][0]["start"] < final["words"][-1]["end"] <= final["end"]


def test_a_file_and_its_raw_samples_give_the_same(
    run: Path, recording: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert main(["--model", str(run), str(recording), "--as-fast-as-possible", "--json"]) == 0
    of_file = events(capsys)
    assert {each["event"] for each in of_file} >= {"speech_began", "partial", "final"}
    raw = as_int16(some_words()).tobytes() + b"x"  # ended in mid-sample
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=io.BytesIO(raw)))
    assert main(["--model", str(run), "-", "--json"]) == 0
    assert events(capsys) == of_file
    finals = [each for each in of_file if each["event"] == "final"]
    recognizer = Recognizer.load(run)
    samples = as_int16(some_words()).astype(np.float32) / 32768
    for each in finals:
        segment = samples[round(each["start"] * RATE) : round(each["end"] * RATE)]
        assert recognizer.transcribe(segment, sample_rate=RATE).text == each["text"]


def test_sentences_are_lines_without_a_terminal(run: Path, recording: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--model", str(run), str(recording), "--as-fast-as-possible", "--set", "stream.silence=0.4"]) == 0
    out = capsys.readouterr().out
    assert len(out.splitlines()) == 2
    assert "\x1b" not in out
    assert "\r" not in out


def test_raw_samples_of_another_rate_are_brought_to_the_model_s() -> None:
    time_axis = np.arange(48_000) / 48_000
    wave = as_int16(0.5 * np.sin(2 * np.pi * 440 * time_axis))
    found = np.concatenate(list(read_pcm(io.BytesIO(wave.tobytes()), from_rate=48_000, to_rate=RATE)))
    expected = 0.5 * np.sin(2 * np.pi * 440 * np.arange(RATE) / RATE)
    assert len(found) == RATE
    np.testing.assert_allclose(found[200:-200], expected[200:-200], atol=2e-3)
    with pytest.raises(SourceError, match="sample rate: 0 hertz; expected 1000 to 1000000"):
        next(read_pcm(io.BytesIO(b""), from_rate=0, to_rate=RATE))


def test_a_file_is_played_in_its_own_time(recording: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    now = [100.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    monkeypatch.setattr(time, "sleep", lambda seconds: now.__setitem__(0, now[0] + seconds))
    blocks = list(play(recording, sample_rate=RATE, is_paced=True))
    assert now[0] - 100.0 == pytest.approx(5.0, abs=0.01)
    assert max(map(len, blocks)) == 320
    list(play(recording, sample_rate=RATE, is_paced=False))
    assert now[0] - 100.0 == pytest.approx(5.0, abs=0.01)


def test_a_file_that_is_none_is_named(run: Path, tmp_path: Path) -> None:
    with pytest.raises(AudioError, match=r"none\.wav"):
        main(["--model", str(run), str(tmp_path / "none.wav")])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"push_to_talk": True, "source": "-"}, "push_to_talk: Enter is read from stdin"),
        ({"push_to_talk": True, "wake": "hey", "commands": "x"}, "wake: with push_to_talk"),
        ({"wake": "hey"}, "wake: without commands; expected --commands"),
        ({"fast": True}, "fast: without a file"),
        ({"stream": {"silense": 1.0}}, "stream.silense: unknown key; did you mean 'silence'"),
    ],
)
def test_options_that_do_not_go_together_are_refused(options: dict, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        read_options({"model": "runs/x", **options}, [])


def test_without_a_model_the_shipped_one_is_taken(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("asr.live.run.shipped_models", dict)
    with pytest.raises(ConfigError, match="model: none given, and no model 'english' is shipped; expected --model"):
        read_options({}, [])
    monkeypatch.setattr("asr.live.run.shipped_models", lambda: {"english": tmp_path})
    assert read_options({}, []).model.endswith("english")


def test_settings_of_the_stream_are_keys() -> None:
    config = read_options({"model": "runs/x"}, ["stream.silence=1.5", "stream.silence_inside_command=2"])
    assert config.stream.silence == 1.5


def recorder(folder: Path, name: str, code: str) -> None:
    """A recorder that is a program of ours."""
    folder.mkdir(exist_ok=True)
    path = folder / name
    path.write_text(f"#!{sys.executable}\nimport sys, time\n{code}\n")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)


def config_of(**values: object) -> ListenConfig:
    return ListenConfig(model="runs/x", **values)  # type: ignore[arg-type]


@pytest.mark.parametrize("name", ["arecord", "parec"])
def test_a_recorder_gives_its_samples_until_it_ends(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    code = "sys.stdout.buffer.write(bytes(6401)); sys.stdout.flush(); sys.exit('first\\nread error: No such device')"
    recorder(tmp_path / "bin", name, code)
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    taken: list[np.ndarray] = []
    message = rf"microphone: {name} has ended \(exit code 1\): read error: No such device; .* plug the device in"
    with (
        pytest.raises(SourceError, match=message),
        open_source(config_of(recorder=name), sample_rate=RATE) as blocks,
    ):
        taken.extend(blocks)
    assert sum(map(len, taken)) == 3200


def test_a_recorder_is_ended_with_the_program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    code = (
        f"open({str(tmp_path / 'arguments')!r}, 'w').write(' '.join(sys.argv[1:]))\n"
        "while True: sys.stdout.buffer.write(bytes(640)); sys.stdout.flush(); time.sleep(0.01)"
    )
    recorder(tmp_path / "bin", "arecord", code)
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    started: list[subprocess.Popen] = []
    popen = subprocess.Popen

    def noted(*arguments: object, **options: object) -> subprocess.Popen:
        started.append(popen(*arguments, **options))  # type: ignore[call-overload]
        return started[-1]

    monkeypatch.setattr(sources.subprocess, "Popen", noted)
    with open_source(config_of(recorder="arecord", device="hw:1"), sample_rate=8000) as blocks:
        assert len(next(blocks)) == 160
    assert started[0].returncode is not None
    assert (tmp_path / "arguments").read_text() == "-q -t raw -f S16_LE -c 1 -r 8000 -D hw:1"


def test_without_any_recorder_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setitem(sys.modules, "sounddevice", None)
    with pytest.raises(SourceError, match=r"neither sounddevice, parec nor arecord is here; .*earshot\[live\]"):
        open_source(config_of(), sample_rate=RATE)
    with (
        pytest.raises(SourceError, match=r"arecord cannot be started \(No such file or directory\); expected a mic"),
        open_source(config_of(recorder="arecord"), sample_rate=RATE),
    ):
        pass
    with (
        pytest.raises(SourceError, match=r"sounddevice is not installed; expected pip install 'earshot\[live\]'"),
        open_source(config_of(recorder="sounddevice"), sample_rate=RATE),
    ):
        pass


def test_the_first_recorder_is_taken(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setitem(sys.modules, "sounddevice", None)
    recorder(tmp_path, "arecord", "")
    assert sources.find_recorder() == "arecord"
    recorder(tmp_path, "parec", "")
    assert sources.find_recorder() == "parec"
    monkeypatch.setitem(sys.modules, "sounddevice", SimpleNamespace())
    assert sources.find_recorder() == "sounddevice"
    assert sources.recorder_command("parec", "usb", sample_rate=8000)[-1] == "--device=usb"


@pytest.mark.skipif(os.name == "nt", reason="signals of Unix")
def test_ctrl_c_ends_it_without_a_word(run: Path) -> None:
    command = [sys.executable, "-m", "asr.listen", "--model", str(run), "-", "--json"]
    process = subprocess.Popen(
        command,
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=False,
        # Tests that run in the background of a shell ignore Ctrl-C, and their programs would too.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write(as_int16(some_words()).tobytes())
    process.stdin.flush()
    assert json.loads(process.stdout.readline())["event"] == "speech_began"  # it listens
    process.send_signal(signal.SIGINT)
    _, error = process.communicate()
    assert process.returncode == 130
    assert error == b""
