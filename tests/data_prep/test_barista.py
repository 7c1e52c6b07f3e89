"""data_prep/barista.py: labelled commands as manifests, mixed with noise as the public benchmark does."""

import json
from pathlib import Path

import numpy as np
import pytest
import soundfile

from asr.audio.reading import read_audio
from asr.data.manifest import Manifest
from data_prep import barista
from data_prep.entries import CorpusError

SPEAKERS = ["anna", "anna", "ben", "cleo", "ben", "dora"]


def write_corpus(folder: Path, *, speakers: list[str | None] = SPEAKERS, seconds: float = 0.5) -> Path:
    rng = np.random.default_rng(0)
    (folder / "dev").mkdir(parents=True)
    labels = {}
    for number, speaker in enumerate(speakers):
        samples = rng.normal(size=round(seconds * 16_000)) * np.linspace(0.01, 0.1 + 0.01 * number, 8000)
        soundfile.write(folder / "dev" / f"r{number}.flac", samples, 16_000)
        labels[f"r{number}.flac"] = {"intent": "order", "slots": {"drink": f"tea {number}"}}
        labels[f"r{number}.flac"] |= {"speaker": speaker} if speaker else {}
    (folder / "dev_labels.json").write_text(json.dumps(labels))
    soundfile.write(folder / "kitchen.flac", rng.normal(size=20_000) * 0.05, 16_000)
    return folder


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    return write_corpus(tmp_path / "corpus")


def run(corpus: Path, output: Path, *arguments: str) -> int:
    return barista.main([str(corpus), str(output), *arguments])


def loudest(samples: np.ndarray) -> float:
    return max((samples[i : i + 2048].astype(float) ** 2).sum() for i in range(0, len(samples) - 2047, 2048))


def test_labels_are_kept_and_noise_is_as_loud_as_asked(corpus: Path, tmp_path: Path) -> None:
    output = tmp_path / "out"
    assert run(corpus, output, "--noise", str(corpus / "kitchen.flac"), "--snr", "6", "24") == 0
    noise = read_audio(corpus / "kitchen.flac", sample_rate=16_000)
    clean = list(Manifest.read(output / "clean.jsonl"))
    assert [item.id for item in clean] == [f"r{number}" for number in range(6)]
    assert clean[2].extra == {"intent": "order", "slots": {"drink": "tea 2"}}
    assert (clean[2].speaker, clean[2].text, clean[2].duration) == ("ben", "", 0.5)
    starts = []
    for snr in (6, 24):
        for item, original in zip(Manifest.read(output / f"noise_{snr:02d}db.jsonl"), clean, strict=True):
            assert (item.id, item.extra["snr_db"]) == (original.id, snr)
            start = round(item.extra["noise_start"] * 16_000)
            starts.append(start)
            speech, cut = read_audio(original.audio_filepath, sample_rate=16_000), noise[start : start + 8000]
            mixed = read_audio(item.audio_filepath, sample_rate=16_000)
            # What is left when the speech is taken away again is the noise, that much weaker than the speech.
            scale = np.linalg.lstsq(np.stack([speech, cut], axis=1), mixed, rcond=None)[0]
            assert abs(mixed).max() == pytest.approx(0.5, abs=1e-4)
            np.testing.assert_allclose(mixed, scale[0] * speech + scale[1] * cut, atol=1e-4)
            ratio = 10 * np.log10(loudest(scale[0] * speech) / loudest(scale[1] * cut))
            assert ratio == pytest.approx(snr, abs=0.05)
    assert starts[:6] == starts[6:]
    assert len(set(starts)) > 1


def test_a_cut_depends_on_the_seed_and_the_name_alone(corpus: Path, tmp_path: Path) -> None:
    noise = ["--noise", str(corpus / "kitchen.flac"), "--snr", "9"]
    for name, arguments in (("one", noise), ("again", noise), ("other", [*noise, "--seed", "1"])):
        run(corpus, tmp_path / name, *arguments)
    labels = json.loads((corpus / "dev_labels.json").read_text())
    (corpus / "dev_labels.json").write_text(json.dumps({"r3.flac": labels["r3.flac"]}))
    run(corpus, tmp_path / "part", *noise)
    heard = {
        name: (tmp_path / name / "wav" / "noise_09db" / "r3.flac").read_bytes()
        for name in ("one", "again", "other", "part")
    }
    assert heard["one"] == heard["again"] == heard["part"] != heard["other"]


def test_folds_part_the_speakers_evenly(corpus: Path, tmp_path: Path) -> None:
    output = tmp_path / "out"
    noise = ["--noise", str(corpus / "kitchen.flac"), "--snr", "9"]
    assert run(corpus, output, "--folds", "3", "--sizes", "2", "3", *noise) == 0
    tests = []
    for number in (1, 2, 3):
        fold = output / f"fold_{number}"
        for name in ("clean", "noise_09db"):
            train, test = (list(Manifest.read(fold / part / f"{name}.jsonl")) for part in ("train", "test"))
            assert {item.id for item in train} | {item.id for item in test} == {f"r{index}" for index in range(6)}
            assert not {item.speaker for item in train} & {item.speaker for item in test}
            few = [{item.id for item in Manifest.read(fold / f"train_{size}" / f"{name}.jsonl")} for size in (2, 3)]
            assert few[0] < few[1] <= {item.id for item in train}
        tests += [item.id for item in test]
    assert sorted(tests) == [f"r{index}" for index in range(6)]
    assert len(Manifest.read(output / "all" / "train_2" / "clean.jsonl")) == 2


def test_a_recording_that_cannot_be_read_is_named(
    corpus: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (corpus / "dev" / "r1.flac").write_bytes(b"not audio")
    (corpus / "dev" / "r2.flac").unlink()
    assert run(corpus, tmp_path / "out") == 4
    said = capsys.readouterr().err
    assert "r1.flac: not readable as audio" in said
    assert "r2.flac: no such file" in said
    assert len(Manifest.read(tmp_path / "out" / "clean.jsonl")) == 4


def test_a_recording_that_cannot_be_mixed_is_named_and_the_others_are(corpus: Path, tmp_path: Path, capsys) -> None:
    whole = (corpus / "dev" / "r1.flac").read_bytes()
    (corpus / "dev" / "r1.flac").write_bytes(whole[: len(whole) // 2])  # its header is whole
    soundfile.write(corpus / "dev" / "r2.flac", np.zeros(8000), 16_000)
    assert run(corpus, tmp_path / "out", "--noise", str(corpus / "kitchen.flac"), "--snr", "6") == 4
    said = capsys.readouterr().err
    assert "r1.flac" in said
    assert "r2.flac: silent" in said
    for name in ("clean", "noise_06db"):
        found = [item.id for item in Manifest.read(tmp_path / "out" / f"{name}.jsonl")]
        assert found == ["r0", "r3", "r4", "r5"]


def test_labels_of_one_recording_twice_are_refused(corpus: Path, tmp_path: Path) -> None:
    label = json.dumps({"intent": "order", "slots": {}})
    (corpus / "dev_labels.json").write_text(f'{{"r1.flac": {label}, "r1.flac": {label}}}')
    with pytest.raises(CorpusError, match=r"dev_labels\.json: .*the key 'r1\.flac' twice; expected each key once"):
        run(corpus, tmp_path / "out")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--snr", "6"], "--snr: ratios without a recording to mix with"),
        (["--folds", "5"], "--folds 5: expected from 2 to the number of speakers, 4"),
        (["--folds", "2", "--sizes", "9"], "--sizes 9: all has 6 recordings to train on"),
        (
            ["--labels", "absent_labels.json", "--recordings", "."],
            "absent_labels.json: cannot be read as the labels of recordings",
        ),
        (["--labels", "corpus/absent_labels.json"], "absent: no such folder; expected the recordings of"),
    ],
)
def test_options_that_do_not_fit_are_refused(
    corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], message: str
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(CorpusError, match=message):
        run(corpus, tmp_path / "out", *arguments)


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        ({}, "no labels; expected"),
        ({"r0.flac": {"intent": "order"}}, 'r0.flac: {"intent": "order"}; expected {"intent": "NAME", "slots"'),
        ({"gone.flac": {"intent": "order", "slots": {}}}, "none of its 1 recordings can be read: .*no such file"),
    ],
)
def test_labels_of_another_form_are_refused(corpus: Path, tmp_path: Path, labels: dict, message: str) -> None:
    (corpus / "dev_labels.json").write_text(json.dumps(labels))
    with pytest.raises(CorpusError, match=message):
        run(corpus, tmp_path / "out")


def test_a_folder_without_labels_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CorpusError, match=r"none of the form \*_labels\.json; expected one; choose with --labels"):
        run(tmp_path, tmp_path / "out")


def test_noise_must_be_long_enough_and_speakers_known(tmp_path: Path) -> None:
    corpus = write_corpus(tmp_path / "corpus", speakers=["anna", None])
    soundfile.write(corpus / "short.flac", np.full(4000, 0.1), 16_000)
    with pytest.raises(CorpusError, match=r"short\.flac: 0\.2 s; expected at least as long as each recording: r0 has"):
        run(corpus, tmp_path / "out", "--noise", str(corpus / "short.flac"))
    with pytest.raises(CorpusError, match="--folds: r1 has no speaker; expected one for every recording"):
        run(corpus, tmp_path / "out", "--folds", "2")


def test_silence_cannot_be_mixed() -> None:
    noise = np.random.default_rng(0).normal(size=4096).astype(np.float32)
    with pytest.raises(CorpusError, match="the speech is silent, or shorter than 2048 samples"):
        barista.mix(np.zeros(4096, dtype=np.float32), noise, snr_db=6)
    with pytest.raises(CorpusError, match="the noise is silent"):
        barista.mix(noise[:2048], np.zeros(2048, dtype=np.float32), snr_db=6)


def test_the_real_labels(shared_data: Path, tmp_path: Path) -> None:
    assert run(shared_data / "barista", tmp_path, "--folds", "5") == 0
    assert len(Manifest.read(tmp_path / "clean.jsonl")) == 313
    sizes = [len(Manifest.read(tmp_path / f"fold_{number}" / "test" / "clean.jsonl")) for number in range(1, 6)]
    assert sum(sizes) == 313
    assert max(sizes) - min(sizes) <= 8
