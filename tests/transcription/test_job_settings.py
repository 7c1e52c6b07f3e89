"""What a job hears with, by options, and that anything that decides about a transcript makes it another job."""

import json
import shutil
from pathlib import Path

import pytest

from asr.language_models.kneser_ney import estimate_kneser_ney
from asr.language_models.ngram import token_symbols
from asr.language_models.table import write_arpa
from asr.recognizer import Recognizer
from asr.runs.language_model import read_decoding
from asr.text import load_tokenizer
from asr.transcribe import main
from asr.transcript import Transcript
from asr.transcription.config import JobConfig, load_job
from asr.transcription.output import Settings
from asr.transcription.report import JobReport
from tests.support.small_run import TEXTS, write_recordings, write_small_run

GRAMMAR = """
language: en
intents:
  Stop: {data: [{sentences: ["stop"]}]}
  Play: {data: [{sentences: ["play some music"]}]}
"""


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_small_run(tmp_path_factory.mktemp("runs") / "small").path


@pytest.fixture(scope="module")
def audio(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("audio")
    write_recordings(folder, [0.8, 1.2])
    return folder


@pytest.fixture(scope="module")
def arpa(run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    tokenizer = load_tokenizer(run / "tokenizer")
    symbols = token_symbols(tokenizer)
    places = {token: place for place, token in enumerate(symbols.values())}
    sentences = [[places[token] for token in tokenizer.encode(text)] for text in TEXTS * 3]
    path = tmp_path_factory.mktemp("lm") / "characters.arpa"
    write_arpa(path, estimate_kneser_ney(sentences, symbols=tuple(symbols), order=3))
    return path


def transcribed(out: Path) -> dict[str, dict]:
    return {line["id"]: line for line in map(json.loads, (out / "transcripts.jsonl").read_text().splitlines())}


def test_a_decoding_with_a_language_model_by_option(run: Path, audio: Path, arpa: Path, tmp_path: Path) -> None:
    options = ["--decoding", "{kind: ctc_beam, beam: 4}", "--language-model", str(arpa)]
    assert main([str(run), str(audio), "--output-dir", str(tmp_path / "out"), "--num-workers", "1", *options]) == 0
    recognizer = Recognizer.load(run, decoding=read_decoding(options[1], language_model=str(arpa)))
    for name, line in transcribed(tmp_path / "out").items():
        assert line["pred_text"] == recognizer.transcribe(audio / name).text
    settings = json.loads((tmp_path / "out" / "report.json").read_text())["settings"]
    assert settings["language_model"].keys() == {"characters.arpa"}


def test_only_the_sentences_of_a_grammar_by_option(run: Path, audio: Path, tmp_path: Path) -> None:
    grammar = tmp_path / "grammar.yaml"
    grammar.write_text(GRAMMAR)
    options = ["--commands", str(grammar), "--num-workers", "1", "--format", "jsonl,txt"]
    assert main([str(run), str(audio), "--output-dir", str(tmp_path / "out"), *options]) == 0
    recognizer = Recognizer.load(run, commands=grammar)
    for name, line in transcribed(tmp_path / "out").items():
        alone = recognizer.command(audio / name)
        assert (line["command"]["text"], line["command"]["intent"]) == (alone.text, alone.intent)
        assert line["command"]["score"] == round(line["command"]["score"], 4) == pytest.approx(alone.score, abs=1e-3)
        assert line["pred_text"] in ("", "stop", "play some music")


def settings(run: Path, **options: object) -> Settings:
    return Settings.of(load_job(None, {"run": str(run), "paths": ["x"], "output_dir": "out", **options}))


def test_whatever_decides_about_a_transcript_makes_another_job(run: Path, arpa: Path, tmp_path: Path) -> None:
    grammar, own = tmp_path / "grammar.yaml", tmp_path / "run"
    grammar.write_text(GRAMMAR)
    shutil.copytree(run, own)
    shutil.copy(arpa, tmp_path / "words.arpa")
    decoding = {"kind": "ctc_beam", "fusion": {"language_model": str(tmp_path / "words.arpa")}}

    def digests() -> list[str]:
        found = [settings(own), settings(own, commands=str(grammar)), settings(own, decoding=decoding)]
        return [each.digest for each in found]

    before = digests()
    assert len({*before, settings(own, precision="int8").digest, settings(own, channel=0).digest}) == 5
    assert settings(own, batch_size=1, num_workers=3, engine="ray", format=["srt"]).digest == before[0]
    (tmp_path / "words.arpa").write_bytes(arpa.read_bytes() + b"\n")
    assert [new == old for new, old in zip(digests(), before)] == [True, True, False]
    grammar.write_text(GRAMMAR.replace("stop", "halt"))
    assert [new == old for new, old in zip(digests(), before)] == [True, False, False]
    # The run's own decoding, calibrations and models beside its weights.
    for name, content in (("config.yaml", b"\n# comment\n"), ("word_confidence.json", b"{}"), ("a.safetensors", b"x")):
        unchanged = digests()
        with (own / name).open("ab") as file:
            file.write(content)
        assert not set(digests()) & set(unchanged)


def test_the_runs_own_language_model_counts_too(run: Path, arpa: Path, tmp_path: Path) -> None:
    own, model = tmp_path / "run", tmp_path / "lm"
    shutil.copytree(run, own)
    model.mkdir()
    shutil.copy(arpa, model / "model.arpa")
    (model / "metrics.jsonl").write_text("what a training says")
    text = (own / "config.yaml").read_text()
    section = f"decoding: {{kind: ctc_beam, fusion: {{language_model: {model}}}}}\n"
    (own / "config.yaml").write_text(text.replace("decoding:\n  kind: ctc_greedy\n", section))
    assert settings(own).values["language_model"].keys() == {"model.arpa"}


def test_paths_for_processes_that_begin_elsewhere(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    decoding = {"kind": "ctc_beam", "fusion": {"language_model": "lm"}}
    config = load_job(None, {"run": "run", "paths": ["x"], "output": "a.jsonl", "commands": "g", "decoding": decoding})
    found = config.with_absolute_paths()
    assert (found.run, found.commands) == (str(tmp_path / "run"), str(tmp_path / "g"))
    assert found.decoding.fusion.language_model == str(tmp_path / "lm")  # type: ignore[union-attr]
    plain = JobConfig(run="/run", paths=("x",), output="a.jsonl")
    assert plain.with_absolute_paths() == plain


def test_the_report_names_what_was_not_understood() -> None:
    silent = {"seconds": 0.1, "transcripts": [Transcript("", 0.0, (), 1.0).to_dict()]}
    report = JobReport()
    report.add("a.wav", silent)
    assert "1 without a word: a.wav" in report.summary()
    refused = Transcript("", 0.0, (), 1.0, command={"understood": False}).to_dict()
    report.add("b.wav", {"seconds": 0.1, "transcripts": [refused]})
    assert "2 not understood as a command: a.wav, b.wav" in report.summary()
