"""Stored log-mels: read back as they were written, and nothing damaged or foreign is read."""

import copy
import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from asr.data.features import FeatureConfig
from asr.data.shards import (
    INDEX_NAME,
    FeatureShards,
    ShardEntry,
    ShardError,
    ShardIndex,
    shard_name,
    stored_settings,
)
from asr.files.digest import file_digest

CONFIG = FeatureConfig(num_mels=4)


def features_of(number: int) -> torch.Tensor:
    return torch.randn(3 + number, 4, generator=torch.Generator().manual_seed(number))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Three shards of two utterances; u-5 was left out."""
    entries = []
    for number in range(3):
        path = tmp_path / shard_name(number)
        ids = [place for place in (2 * number, 2 * number + 1) if place != 5]
        save_file({f"u-{place}": features_of(place) for place in ids}, path)
        left_out = ("u-5",) if number == 2 else ()
        entries.append(ShardEntry(path.name, file_digest(path), path.stat().st_size, len(ids), left_out))
    ShardIndex(
        features=stored_settings(CONFIG),
        manifest="/corpus/train.jsonl",
        manifest_digest="0" * 64,
        num_utterances=6,
        shard_size=2,
        shards=tuple(entries),
    ).write(tmp_path)
    return tmp_path


def change_index(folder: Path, **changes: object) -> None:
    values = json.loads((folder / INDEX_NAME).read_text())
    (folder / INDEX_NAME).write_text(json.dumps(values | changes))


def test_features_come_back_as_they_were(folder: Path) -> None:
    shards = FeatureShards(folder, CONFIG)
    shards.verify()
    assert sorted(shards.ids) == ["u-0", "u-1", "u-2", "u-3", "u-4"]
    for place in (4, 0, 3, 1, 2, 0):
        assert torch.equal(shards.features(f"u-{place}"), features_of(place))


def test_another_process_reads_the_same(folder: Path) -> None:
    shards = copy.copy(FeatureShards(folder, CONFIG))  # by __reduce__, as sending it to a process does
    assert torch.equal(shards.features("u-3"), features_of(3))


def test_features_may_be_changed_without_changing_the_file(folder: Path) -> None:
    shards = FeatureShards(folder, CONFIG)
    shards.features("u-0").fill_(7.0)
    assert torch.equal(FeatureShards(folder, CONFIG).features("u-0"), features_of(0))
    shards.verify()


def test_other_normalization_is_no_other_setting(folder: Path) -> None:
    FeatureShards(folder, CONFIG.model_copy(update={"normalization": "global"}))


def test_other_settings_are_refused_with_the_difference(folder: Path) -> None:
    with pytest.raises(ShardError, match=r"other settings: num_mels is 4, expected 80; hop_ms is 10.0, expected 12.5;"):
        FeatureShards(folder, FeatureConfig(hop_ms=12.5))


def test_an_utterance_without_features_is_named(folder: Path) -> None:
    shards = FeatureShards(folder, CONFIG)
    with pytest.raises(ShardError, match="no features of utterance 'u-9': another manifest was extracted"):
        shards.features("u-9")
    with pytest.raises(ShardError, match="no features of utterance 'u-5': its recording was broken and left out"):
        shards.features("u-5")


def test_a_changed_byte_is_found(folder: Path) -> None:
    path = folder / shard_name(1)
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    with pytest.raises(ShardError, match=r"not what was written: shard-00001\.safetensors; run the same"):
        FeatureShards(folder, CONFIG).verify()


def test_a_shard_cut_short_or_missing_is_named(folder: Path) -> None:
    path = folder / shard_name(1)
    size = path.stat().st_size
    path.write_bytes(path.read_bytes()[:-8])
    with pytest.raises(ShardError, match=rf"shard-00001.safetensors: {size - 8} bytes; expected {size}"):
        FeatureShards(folder, CONFIG)
    path.unlink()
    with pytest.raises(ShardError, match=rf"shard-00001.safetensors: 0 bytes; expected {size}"):
        FeatureShards(folder, CONFIG)
    path.write_bytes(b"x" * size)
    with pytest.raises(
        ShardError, match=r"shard-00001\.safetensors: a header of .* bytes; expected a safetensors file"
    ):
        FeatureShards(folder, CONFIG)


def test_an_unfinished_folder_is_refused(folder: Path) -> None:
    index = ShardIndex.read(folder)
    index.with_shard(1, None).write(folder)
    with pytest.raises(ShardError, match="not finished: 1 of 3 shards to do; run the same"):
        FeatureShards(folder, CONFIG)


def test_an_id_in_two_shards_is_refused(folder: Path) -> None:
    index = ShardIndex.read(folder)
    path = folder / shard_name(1)
    save_file({f"u-{place}": features_of(place) for place in (1, 3)}, path)
    index.with_shard(1, ShardEntry(path.name, file_digest(path), path.stat().st_size, 2)).write(folder)
    with pytest.raises(ShardError, match="4 ids; expected 5; extract them again"):
        FeatureShards(folder, CONFIG)


def test_an_index_that_is_none_is_refused(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(ShardError, match=r"nowhere/index\.json: no such file; expected a folder that"):
        FeatureShards(tmp_path / "nowhere", CONFIG)
    change_index(folder, version=9)
    with pytest.raises(ShardError, match="version 9; expected 1"):
        FeatureShards(folder, CONFIG)
    for content in ("{", "[]", '{"version": 1}', '{"version": 1, "shards": [], "other": 3}'):
        (folder / INDEX_NAME).write_text(content)
        with pytest.raises(ShardError, match="not an index of features"):
            FeatureShards(folder, CONFIG)


@pytest.mark.parametrize("shape", [(3, 5), (12,), (0, 4), (1, 3, 4)])
def test_stored_features_of_another_shape_are_refused(folder: Path, shape: tuple[int, ...]) -> None:
    index = ShardIndex.read(folder)
    path = folder / shard_name(1)
    save_file({"u-3": torch.zeros(shape)}, path)
    index.with_shard(1, ShardEntry(path.name, file_digest(path), path.stat().st_size, 1)).write(folder)
    with pytest.raises(ShardError, match=r"shard-00001\.safetensors: u-3: features of shape .*; expected frames of 4"):
        FeatureShards(folder, CONFIG)


@pytest.mark.parametrize(
    ("key", "value"), [("file", "../x"), ("file", "/etc/passwd"), ("num_bytes", -1), ("num_utterances", "3"), ("x", 1)]
)
def test_an_index_of_something_else_is_refused(folder: Path, key: str, value: object) -> None:
    path = folder / "index.json"
    values = json.loads(path.read_text())
    values["shards"][1][key] = value
    path.write_text(json.dumps(values))
    with pytest.raises(ShardError, match=rf"index\.json: shards\.1\.{key}: found .*; not an index of features"):
        FeatureShards(folder, CONFIG)
