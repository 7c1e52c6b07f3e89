"""asr/data/manifest.py: every line checked on reading, and written whole or not at all."""

import hashlib
import json
import os
import pickle
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from asr.data.dataset import SourceConfig
from asr.data.manifest import Manifest, ManifestError, Utterance
from asr.data.manifest_writing import write_manifest

LINE = {"id": "a", "audio_filepath": "wav/a.wav", "duration": 1.5, "text": "turn it on"}
WORDS = st.text(st.characters(exclude_categories=("Cs",)), max_size=20)


def utterances_strategy():
    utterance = st.builds(
        Utterance,
        id=WORDS.filter(bool),
        audio_filepath=st.text("abc/", min_size=1).map(lambda path: os.path.normpath(f"/{path.strip('/')}")),
        duration=st.floats(0.01, 3600),
        text=WORDS,
        speaker=st.none() | WORDS,
        offset=st.floats(0, 3600),
        extra=st.dictionaries(WORDS.map("x-{}".format), st.none() | st.integers() | WORDS, max_size=3),
    )
    return st.lists(utterance, min_size=1, max_size=6, unique_by=lambda utterance: utterance.id)


@given(utterances=utterances_strategy())
def test_what_is_written_is_read(tmp_path_factory, utterances):
    path = tmp_path_factory.getbasetemp() / "round_trip.jsonl"
    assert write_manifest(path, utterances) == len(utterances)
    manifest = Manifest.read(path)
    assert list(manifest) == utterances
    assert manifest[-1] == utterances[-1]
    np.testing.assert_array_equal(manifest.durations, np.float32([each.duration for each in utterances]))
    assert manifest.digest == hashlib.sha256(path.read_bytes()).hexdigest()


def test_paths_move_with_the_folder(tmp_path):
    inside, outside = str(tmp_path / "corpus" / "wav" / "a.wav"), str(tmp_path / "b.wav")
    path = tmp_path / "corpus" / "train.jsonl"
    write_manifest(path, [Utterance("a", inside, 1.0), Utterance("b", outside, 1.0)])
    assert [json.loads(line)["audio_filepath"] for line in path.open()] == ["wav/a.wav", outside]
    (tmp_path / "corpus").rename(tmp_path / "moved")
    manifest = Manifest.read(tmp_path / "moved" / "train.jsonl")
    assert manifest[0].audio_filepath == str(tmp_path / "moved" / "wav" / "a.wav")
    assert manifest.path == tmp_path / "moved" / "train.jsonl"


def test_a_line_may_be_written_by_others(tmp_path):
    path = tmp_path / "a.jsonl"
    lines = [{**LINE, "duration": 2, "lang": "en"}, {**LINE, "id": "b", "speaker": None}]
    path.write_bytes(b"\xef\xbb\xbf" + b"\r\n\r\n".join(json.dumps(line).encode() for line in lines))
    manifest = Manifest.read(path)
    assert len(manifest) == 2
    assert manifest[0].extra == {"lang": "en"}
    assert manifest[0].duration == 2.0
    assert manifest[1] == Utterance("b", str(tmp_path / "wav" / "a.wav"), 1.5, "turn it on")
    with pytest.raises(IndexError):
        manifest[2]


def test_a_manifest_travels_to_another_process(tmp_path):
    path = tmp_path / "a.jsonl"
    path.write_text(json.dumps(LINE))
    manifest = Manifest.read(path)
    assert list(pickle.loads(pickle.dumps(manifest))) == list(manifest)  # noqa: S301  (our own bytes)


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        ({"id": ""}, "id is ''; expected a string"),
        ({"id": 7}, "id is 7; expected a string"),
        ({"audio_filepath": None}, "audio_filepath is None; expected a string"),
        ({"audio_filepath": "x/../../a.wav"}, r"outside the manifest's folder; expected a path below it"),
        ({"duration": "1.5"}, "duration is '1.5'; expected seconds, above 0"),
        ({"duration": True}, "duration is True"),
        ({"duration": 0}, "duration is 0;"),
        ({"duration": float("nan")}, "the number NaN; expected a finite one"),
        ({"duration": 10**400}, "duration is 1000"),
        ({"offset": -1.0}, r"offset is -1\.0; expected seconds, 0 or more"),
        ({"offset": float("inf")}, "the number Infinity; expected a finite one"),
        ({"offset": 10**400}, "offset is 1000"),
        ({"offset": 2e9}, "offset is 2000000000.0; expected seconds, 0 or more and below 1000000000"),
        ({"take": [{"x": float("-inf")}]}, "the number -Infinity; expected a finite one"),
        ({"text": None}, "text is None; expected a string"),
        ({"speaker": 3}, "speaker is 3; expected a string or null"),
        ({"text": "half \ud800"}, r"'half \\ud800' holds half a character; expected valid Unicode"),
    ],
)
def test_a_wrong_line_is_named(tmp_path, change, fault):
    path = tmp_path / "bad.jsonl"
    path.write_text("\n".join(json.dumps(line) for line in (LINE, {**LINE, "id": "b"} | change)))
    with pytest.raises(ManifestError, match=rf"bad\.jsonl:2: .*{fault}"):
        Manifest.read(path)


@pytest.mark.parametrize("key", ["audio_filepath", "duration"])
def test_a_missing_key_is_named(tmp_path, key):
    path = tmp_path / "bad.jsonl"
    path.write_text(json.dumps({name: value for name, value in LINE.items() if name != key}))
    with pytest.raises(ManifestError, match=rf"bad\.jsonl:1: {key} is (None|0); expected"):
        Manifest.read(path)


@pytest.mark.parametrize("name", ["..a.wav", "a..b/c.wav", "x/../a.wav"])
def test_dots_that_stay_inside_are_no_fault(tmp_path, name):
    (tmp_path / "x").mkdir()
    path = tmp_path / "a.jsonl"
    path.write_text(json.dumps({**LINE, "audio_filepath": name}))
    assert Manifest.read(path)[0].audio_filepath == os.path.normpath(tmp_path / name)


def test_files_that_are_no_manifest_are_named(tmp_path):
    path = tmp_path / "bad.jsonl"
    with pytest.raises(ManifestError, match=r"bad\.jsonl: no such file; expected a manifest"):
        Manifest.read(path)
    path.write_text("\n \n")
    with pytest.raises(ManifestError, match=r"bad\.jsonl: no utterances"):
        Manifest.read(path)
    path.write_text(json.dumps(LINE) + "\n{\n")
    with pytest.raises(ManifestError, match=r"bad\.jsonl:2: not JSON"):
        Manifest.read(path)
    path.write_bytes(b'{"id": "\xff"}')
    with pytest.raises(ManifestError, match=r"bad\.jsonl:1: not JSON .*utf-8"):
        Manifest.read(path)
    path.write_text("[" * 100_000)
    with pytest.raises(ManifestError, match=r"bad\.jsonl:1: not JSON .*recursion"):
        Manifest.read(path)
    path.write_text("[1]")
    with pytest.raises(ManifestError, match=r"bad\.jsonl:1: list; expected a JSON object"):
        Manifest.read(path)
    path.write_text("\n".join([json.dumps(LINE)] * 2))
    with pytest.raises(ManifestError, match=r"bad\.jsonl:2: the id 'a' twice"):
        Manifest.read(path)


def test_writing_refuses_what_reading_would(tmp_path):
    path = tmp_path / "a.jsonl"
    good = Utterance("a", "/wav/a.wav", 1.0)
    write_manifest(path, [good])
    faults = {
        r"a\.jsonl:2: the id 'a' twice": good,
        r"a\.jsonl:2: the path 'b\.wav'; expected an absolute one": replace(good, id="b", audio_filepath="b.wav"),
        r"a\.jsonl:2: duration is 0\.0": replace(good, id="b", duration=0.0),
        r"a\.jsonl:2: extra has \['text'\]; expected none of": replace(good, id="b", extra={"text": "x"}),
    }
    for fault, utterance in faults.items():
        with pytest.raises(ManifestError, match=fault):
            write_manifest(path, [good, utterance])
    assert list(Manifest.read(path)) == [good]
    assert list(tmp_path.iterdir()) == [path]


def test_a_training_keeps_to_its_root(tmp_path):
    (tmp_path / "in").mkdir()
    (tmp_path / "out").mkdir()
    write_manifest(tmp_path / "in" / "inside.jsonl", [Utterance("a", str(tmp_path / "in" / "a.wav"), 1.0, "one")])
    (tmp_path / "in" / "link").symlink_to(tmp_path / "out")
    write_manifest(tmp_path / "in" / "out.jsonl", [Utterance("b", str(tmp_path / "in" / "link" / "b.wav"), 1.0, "b")])
    root = str(tmp_path / "in")
    assert list(SourceConfig(manifest=str(tmp_path / "in" / "inside.jsonl"), root=root).texts()) == ["one"]
    anywhere = SourceConfig(manifest=str(tmp_path / "in" / "out.jsonl"))
    assert list(anywhere.texts()) == ["b"]
    with pytest.raises(ManifestError, match=r"out/b\.wav, outside of the root .*/in; leave it out"):
        anywhere.model_copy(update={"root": root}).digest()
