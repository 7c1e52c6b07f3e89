"""Extraction: the numbers of on-the-fly features, restarts, broken recordings, and what is refused."""

import importlib.util
import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

from asr.audio.reading import read_audio, write_audio
from asr.config.reading import ConfigError
from asr.data.features import FeatureConfig, LogMel
from asr.data.manifest import Manifest, Utterance
from asr.data.manifest_writing import write_manifest
from asr.data.shards import FeatureShards, ShardIndex, shard_name
from asr.engines import ray_data
from data_prep import extract
from data_prep.extract import ExtractError, feature_config, main

RATES = (16000, 8000, 44100)


def write_corpus(folder: Path, *, num_utterances: int = 7) -> Path:
    """Recordings of several rates, of 0.3 to 0.9 s, and two utterances that are stretches of one recording."""
    rng = np.random.default_rng(0)
    utterances = []
    for number in range(num_utterances):
        rate, duration = RATES[number % 3], 0.3 + 0.1 * number
        path = folder / "wav" / f"{number}.wav"
        write_audio(path, 0.1 * rng.standard_normal(round(duration * rate)), sample_rate=rate)
        utterances.append(Utterance(f"u-{number}", str(path), duration, text="word"))
    path = utterances[-1].audio_filepath
    utterances += [Utterance("part-1", path, 0.1), Utterance("part-2", path, 0.25, offset=0.6)]
    write_manifest(folder / "train.jsonl", utterances)
    return folder / "train.jsonl"


@pytest.fixture
def manifest(tmp_path: Path) -> Path:
    return write_corpus(tmp_path)


def run(manifest: Path, *arguments: str, shard_size: int = 4, num_workers: int = 0) -> int:
    options = ["--shard-size", str(shard_size), "--num-workers", str(num_workers)]
    return main([str(manifest), str(manifest.parent / "shards"), *arguments, *options])


def on_the_fly(utterance: Utterance, config: FeatureConfig) -> torch.Tensor:
    samples = read_audio(
        utterance.audio_filepath, sample_rate=16000, offset=utterance.offset, duration=utterance.duration
    )
    return LogMel(config)(torch.from_numpy(samples))


@pytest.mark.parametrize("num_workers", [0, pytest.param(2, marks=pytest.mark.slow)])
def test_shards_hold_what_training_computes_on_the_fly(manifest: Path, num_workers: int) -> None:
    assert run(manifest, num_workers=num_workers) == 0
    shards = FeatureShards(manifest.parent / "shards", FeatureConfig())
    shards.verify()
    utterances = list(Manifest.read(manifest))
    assert sorted(shards.ids) == sorted(utterance.id for utterance in utterances)
    assert [entry and entry.num_utterances for entry in shards.index.shards] == [4, 4, 1]
    for utterance in utterances:
        stored = shards.features(utterance.id)
        torch.testing.assert_close(stored, on_the_fly(utterance, FeatureConfig()), atol=1e-4, rtol=0)
    assert sorted(path.name for path in shards.folder.iterdir()) == ["index.json", *map(shard_name, range(3))]


def test_finished_shards_are_kept_and_the_rest_is_done(
    manifest: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    folder = manifest.parent / "shards"
    real_make_shard, made = extract.make_shard, []

    def interrupted_at_the_third(job: extract.ShardJob) -> extract.Finished:
        if job.number == 2:
            raise KeyboardInterrupt
        return real_make_shard(job)

    monkeypatch.setattr(extract, "make_shard", interrupted_at_the_third)
    with pytest.raises(KeyboardInterrupt):
        run(manifest)
    assert [entry is None for entry in ShardIndex.read(folder).shards] == [False, False, True]
    # one of the finished two is damaged meanwhile
    damaged = bytearray((folder / shard_name(0)).read_bytes())
    damaged[-1] ^= 1
    (folder / shard_name(0)).write_bytes(damaged)
    times = (folder / shard_name(1)).stat().st_mtime_ns

    monkeypatch.setattr(extract, "make_shard", lambda job: made.append(job.number) or real_make_shard(job))
    assert run(manifest) == 0
    assert made == [0, 2]
    assert "1 of 3 shards are finished already and kept" in capsys.readouterr().out
    assert (folder / shard_name(1)).stat().st_mtime_ns == times
    FeatureShards(folder, FeatureConfig()).verify()
    assert run(manifest, shard_size=100) == 0
    assert made == [0, 2]
    assert "goes on with 4 utterances a shard" in capsys.readouterr().out


def test_a_restart_gives_the_same_bytes(manifest: Path) -> None:
    folder = manifest.parent / "shards"
    run(manifest)
    first = {path.name: path.read_bytes() for path in folder.iterdir()}
    (folder / shard_name(1)).unlink()
    run(manifest)
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == first


def test_ray_gives_the_same_bytes_and_names_the_same_faults(
    manifest: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    """With the workers of Ray called one after the other, and their answers given in another order."""
    (manifest.parent / "wav" / "1.wav").write_bytes(b"no audio")
    folder = manifest.parent / "shards"
    assert run(manifest) == 4
    first = {path.name: path.read_bytes() for path in folder.iterdir()}
    faults = capsys.readouterr().err

    def one_after_the_other(make, texts: list[str], **options) -> list[str]:
        assert options == {"num_workers": 2, "address": "auto", "num_gpus": 0.0}
        worker = make()
        return [worker(text) for text in reversed(texts)]

    monkeypatch.setattr(ray_data, "run_on_ray", one_after_the_other)
    shutil.rmtree(folder)
    assert run(manifest, "--engine", "ray", "--ray-address", "auto", num_workers=2) == 4
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == first
    assert capsys.readouterr().err == faults


def test_ray_that_fails_is_said(manifest: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture) -> None:
    def replaced_meanwhile(make, texts: list[str], **options) -> list[str]:
        write_manifest(manifest, list(Manifest.read(manifest))[1:])
        return [make()(text) for text in texts]

    def fails(make, texts: list[str], **options) -> Iterator[str]:
        yield make()(texts[0])
        raise ray_data.RayError("a worker under Ray failed")

    monkeypatch.setattr(ray_data, "run_on_ray", fails)
    with pytest.raises(ExtractError, match="a worker under Ray failed\nwhat is finished is kept: run the same"):
        run(manifest, "--engine", "ray")
    monkeypatch.setattr(ray_data, "run_on_ray", replaced_meanwhile)
    with pytest.raises(ExtractError, match=r"train\.jsonl: changed since the extraction began; expected it to stay"):
        run(manifest, "--engine", "ray")
    with pytest.raises(SystemExit, match="2"):
        run(manifest, "--ray-address", "auto")
    assert "--ray-address is for --engine ray" in capsys.readouterr().err


@pytest.mark.slow
def test_real_ray_gives_the_same_bytes(manifest: Path) -> None:
    if importlib.util.find_spec("ray") is None:  # the engine itself imports it, once its switches are set
        pytest.skip("needs the extra: pip install -e '.[ray]'")
    folder = manifest.parent / "shards"
    run(manifest)
    first = {path.name: path.read_bytes() for path in folder.iterdir()}
    shutil.rmtree(folder)
    assert run(manifest, "--engine", "ray", num_workers=2) == 0
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == first


def test_broken_recordings_are_named_and_left_out(manifest: Path, capsys: pytest.CaptureFixture) -> None:
    folder, broken, missing = manifest.parent / "shards", manifest.parent / "wav/1.wav", manifest.parent / "wav/5.wav"
    good = {path: path.read_bytes() for path in (broken, missing)}
    broken.write_bytes(b"no audio")
    missing.unlink()
    assert run(manifest) == 4
    errors = capsys.readouterr().err
    assert f"left out: u-1: {broken}" in errors
    assert f"left out: u-5: {missing}" in errors
    shards = FeatureShards(folder, FeatureConfig())
    left = [utterance.id for utterance in Manifest.read(folder / "manifest.jsonl")]
    assert sorted(shards.ids) == sorted(left) == ["part-1", "part-2", "u-0", "u-2", "u-3", "u-4", "u-6"]
    # mended, they join, and the list of what was left is gone
    for path, content in good.items():
        path.write_bytes(content)
    assert run(manifest) == 0
    assert len(FeatureShards(folder, FeatureConfig()).ids) == 9
    assert not (folder / "manifest.jsonl").exists()


def test_nothing_but_broken_recordings(manifest: Path) -> None:
    for path in (manifest.parent / "wav").iterdir():
        path.write_bytes(b"")
    assert run(manifest) == 4
    assert FeatureShards(manifest.parent / "shards", FeatureConfig()).ids == []


def test_another_manifest_is_refused_with_the_difference(manifest: Path) -> None:
    run(manifest)
    utterances = list(Manifest.read(manifest))
    changed = [*utterances[1:], Utterance("new", utterances[0].audio_filepath, 0.3)]
    write_manifest(manifest, changed)
    with pytest.raises(
        ExtractError, match=r"9 utterances, SHA-256 .*only in the folder: u-0; only in the manifest: new; extract into"
    ):
        run(manifest)
    write_manifest(manifest, utterances[:3])
    with pytest.raises(ExtractError, match="only in the folder: part-1, part-2, u-3 and 3 more"):
        run(manifest)
    write_manifest(manifest, reversed(utterances))
    with pytest.raises(ExtractError, match="the ids are the same, so paths, durations or texts differ"):
        run(manifest)


def test_other_settings_are_refused_with_the_difference(manifest: Path) -> None:
    run(manifest, "num_mels=40")
    with pytest.raises(ExtractError, match="holds features of other settings: num_mels is 40, expected 80"):
        run(manifest)


def test_settings_come_from_the_command_line_or_a_file(manifest: Path) -> None:
    assert run(manifest, "num_mels=40", "hop_ms=12.5") == 0
    index = json.loads((manifest.parent / "shards" / "index.json").read_text())
    assert (index["features"]["num_mels"], index["features"]["hop_ms"]) == (40, 12.5)
    source = {"manifest": str(manifest)}
    path = manifest.parent / "experiment.yaml"
    path.write_text(json.dumps({"data": {"train": [source], "dev": source}, "features": {"num_mels": 24}}))
    assert feature_config(path, ["window_ms=20.0"]) == FeatureConfig(num_mels=24, window_ms=20.0)


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("num_mels", "'num_mels': not a feature setting; expected key=value"),
        ("num_mel=3", r"features\.num_mel: Extra inputs are not permitted; expected keys: sample_rate, num_mels"),
        ("num_mels=many", r"features\.num_mels: Input should be a valid integer"),
    ],
)
def test_wrong_settings_are_named(manifest: Path, setting: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        run(manifest, setting)


def test_wrong_numbers_are_usage(manifest: Path, capsys: pytest.CaptureFixture) -> None:
    with pytest.raises(SystemExit, match="2"):
        run(manifest, shard_size=0)
    assert "--shard-size is at least 1" in capsys.readouterr().err


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
def test_a_device_that_is_not_there(manifest: Path) -> None:
    with pytest.raises(ExtractError, match="--device: 'cuda', but there is no CUDA device here"):
        run(manifest, "--device", "cuda")


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_a_gpu_stores_the_same_numbers(manifest: Path) -> None:
    assert run(manifest, "--device", "cuda", num_workers=2) == 0
    shards = FeatureShards(manifest.parent / "shards", FeatureConfig())
    for utterance in Manifest.read(manifest):
        expected = on_the_fly(utterance, FeatureConfig())
        torch.testing.assert_close(shards.features(utterance.id), expected, atol=1e-4, rtol=0)
