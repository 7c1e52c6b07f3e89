"""asr/transcription/inputs.py: what is found, what it is called, and where its transcripts go."""

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asr.audio.reading import AudioError
from asr.audio.stretch import Stretch
from asr.data.manifest import ManifestError, Utterance
from asr.data.manifest_writing import write_manifest
from asr.transcription.inputs import InputError, Inputs, _ambiguous, find_inputs, total_bytes


def touch(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b"x")


def names(*paths: str | Path, **options) -> list[str]:
    return list(find_inputs([str(path) for path in paths], **options).names)


def test_a_folder_is_searched_and_the_rest_is_counted(tmp_path: Path) -> None:
    touch(tmp_path, "b.WAV", "a/c.opus", "a/b/d.flac", "notes.txt", "README", ".hidden/e.wav", "._b.wav", "z.wav/f.mp3")
    (tmp_path / "loop").symlink_to(tmp_path)
    (tmp_path / "gone.wav").symlink_to(tmp_path / "nothing")
    (tmp_path / "self.wav").symlink_to(tmp_path / "self.wav")
    inputs = find_inputs([str(tmp_path)])
    assert list(inputs.names) == ["a/b/d.flac", "a/c.opus", "b.WAV", "gone.wav", "self.wav", "z.wav/f.mp3"]
    assert inputs.passed_over == {".txt": 1, "without a suffix": 1, "hidden": 2, "linked folder": 1}
    assert inputs[1].stretch.path == str(tmp_path / "a" / "c.opus")
    assert total_bytes(inputs, range(len(inputs))) == 4
    assert [recording.name for recording in inputs] == list(inputs.names)


def test_names_are_paths_below_what_all_have_in_common(tmp_path: Path) -> None:
    touch(tmp_path, "x/a.wav", "y/a.wav", "y/deep/b.wav", "y/data.bin")
    assert names(tmp_path / "x", tmp_path / "y") == ["x/a.wav", "y/a.wav", "y/deep/b.wav"]
    assert names(tmp_path / "y", tmp_path / "y" / "deep" / "b.wav") == ["a.wav", "deep/b.wav"]
    assert names(tmp_path / "y" / "a.wav") == ["a.wav"]
    assert names(tmp_path / "y" / "data.bin") == ["data.bin"]  # named, so tried
    assert names(tmp_path / "*" / "a.wav") == ["x/a.wav", "y/a.wav"]
    assert names(tmp_path / "y" / "**" / "*") == ["a.wav", "deep/b.wav"]
    (tmp_path / "to-x").symlink_to(tmp_path / "x")
    assert names(tmp_path / "to-x") == ["a.wav"]  # a link that is named is followed


def test_a_list_may_name_anything(tmp_path: Path) -> None:
    touch(tmp_path, "a.wav", "b c.wav", "more/d.wav")
    listed = f"{tmp_path}/a.wav\n{tmp_path}/b c.wav\n\n{tmp_path}/more\n{tmp_path}/missing.wav\n".encode()
    assert names("-", listed=listed) == ["a.wav", "b c.wav", "missing.wav", "more/d.wav"]
    strange = os.fsencode(tmp_path) + b"/caf\xe9\n.wav"
    assert names("-", listed=strange + b"\0" + os.fsencode(tmp_path / "a.wav")) == [
        "a.wav",
        os.fsdecode(b"caf\xe9\n.wav"),
    ]


def test_what_is_not_there_is_refused(tmp_path: Path) -> None:
    for paths, message in (
        ([tmp_path], "no recordings in it; expected files .aac, .aif"),
        ([tmp_path / "a.wav"], r"a\.wav: no such file or folder; expected recordings, a folder of them, or a pattern"),
        ([tmp_path / "*.wav"], r"\*\.wav: no file fits this pattern; expected some"),
        ([tmp_path, "x.jsonl"], r"x\.jsonl: a manifest beside other paths; expected it alone"),
    ):
        with pytest.raises(InputError, match=message):
            names(*paths)
    assert names(tmp_path, may_be_none=True) == []


def test_a_manifest_keeps_its_fields_and_its_order(tmp_path: Path) -> None:
    path = tmp_path / "list.jsonl"
    utterances = [
        Utterance("b", str(tmp_path / "b.wav"), 1.5, "hello", "anna", 2.0, {"mood": "good"}),
        Utterance("a/1.wav", "/elsewhere/a.wav", 0.5),
    ]
    write_manifest(path, utterances)
    inputs = find_inputs([str(path)])
    first, second = inputs
    assert (first.name, first.stretch) == ("b", Stretch(str(tmp_path / "b.wav"), 2.0, 1.5))
    assert first.fields == {
        "id": "b",
        "duration": 1.5,
        "text": "hello",
        "speaker": "anna",
        "offset": 2.0,
        "mood": "good",
    }
    assert second.fields == {"id": "a/1.wav", "duration": 0.5}
    assert inputs.stem("a/1.wav") == "a/1"


def test_a_manifest_cannot_lead_out_of_its_folder(tmp_path: Path) -> None:
    path = tmp_path / "list.jsonl"
    path.write_text('{"id": "a", "audio_filepath": "../a.wav", "duration": 1}\n')
    with pytest.raises(ManifestError, match=r"list\.jsonl:1: audio_filepath is '\.\./a\.wav', outside the manifest's"):
        find_inputs([str(path)])


@pytest.mark.parametrize("name", ["../a", "/../passwd", "a/../../b", "a//b", "a/./b", "a\0b", "", "."])
def test_an_id_cannot_lead_out_of_the_output_folder(name: str) -> None:
    with pytest.raises(
        AudioError, match=r"an id that is no place for a transcript; expected no '\.\.' and no empty"
    ) as caught:
        Inputs("/", [name]).stem(name)
    assert caught.value.kind == "name"


def test_two_recordings_never_share_a_place(tmp_path: Path) -> None:
    touch(tmp_path, "a.wav", "a.flac", "b.wav", "a.wav.ogg", "report.wav", "d.txt.mp3")
    inputs = find_inputs([str(tmp_path)])
    assert {name: inputs.stem(name) for name in inputs.names} == {
        "a.flac": "a.flac",
        "a.wav": "a.wav",
        "a.wav.ogg": "a.wav.ogg",
        "b.wav": "b",
        "d.txt.mp3": "d.txt",
        "report.wav": "report.wav",
    }


@given(st.sets(st.lists(st.sampled_from(["a", "b", ".wav", ".flac", "/", ".ogg"]), min_size=1).map("".join)))
def test_places_are_always_different(found: set[str]) -> None:
    usable = sorted(name for name in found if not {"", ".", ".."} & set(name.split("/")))
    inputs = Inputs("/", usable, ambiguous=_ambiguous(usable))
    assert len({inputs.stem(name) for name in usable}) == len(usable)


def test_long_names_leave_room_for_a_suffix() -> None:
    for name in ("n" * 251 + ".wav", "ä" * 125 + ".wav", os.fsdecode(b"\xe9" * 251 + b".wav")):
        assert len(os.fsencode(name)) <= 255
        stem = Inputs("/", [name]).stem(f"folder/{name}")
        assert len(os.fsencode(f"{stem}.channel0.TextGrid")) <= 255 + len("folder/")
        assert stem != Inputs("/", [name]).stem(f"folder/x{name[1:]}")
