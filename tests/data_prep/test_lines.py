"""Lines end at line feeds only, a byte order mark is no character, and `..` is looked up: for every reader."""

import json
from pathlib import Path

import pytest

from asr.config.reading import read_values
from asr.data.manifest import Manifest, ManifestError, Utterance
from asr.data.manifest_writing import write_manifest
from asr.files.json_lines import LineError, parse_object
from asr.files.replacing import absolute_path, split_lines
from asr.grammar.importers import import_phrases
from asr.language_models.sentences import TextSourceConfig
from asr.language_models.table import read_words
from asr.transcription.inputs import find_inputs
from data_prep.corpus import read_lines
from data_prep.kaldi import read_kaldi_folder
from data_prep.nemo import read_nemo_manifest

# What `str.splitlines` takes for an end of a line, but for "\n" and "\r\n".
INSIDE_A_LINE = ["\u2028", "\u2029", "\x85", "\f", "\v", "\x1c", "\x1d", "\x1e", "\r"]
BOM = "\ufeff"


@pytest.mark.parametrize("character", INSIDE_A_LINE)
def test_only_line_feeds_end_lines(tmp_path: Path, character: str) -> None:
    sentence = f"turn{character}on"
    assert split_lines(f"{sentence}\r\nb\n\nc") == [sentence, "b", "", "c"]
    (tmp_path / "list.txt").write_bytes(f"{BOM}{sentence}\nb\n".encode())
    assert read_lines(tmp_path / "list.txt") == [sentence, "b"]
    assert list(TextSourceConfig(text=str(tmp_path / "list.txt")).texts())[1] == "b"

    line = json.dumps({"audio_filepath": "a.wav", "duration": 1, "text": sentence}, ensure_ascii=False)
    if character >= " ":  # JSON has control characters escaped only
        (tmp_path / "a.jsonl").write_bytes(f"{BOM}{line}\r\n{line.replace('a.wav', 'b.wav')}".encode())
        assert list(Manifest.read(tmp_path / "a.jsonl").texts()) == [sentence] * 2
        assert [entry.text for entry in read_nemo_manifest(tmp_path / "a.jsonl")] == [sentence] * 2

    (tmp_path / "wav.scp").write_text("a a.wav\nb b.wav\n")
    (tmp_path / "text").write_bytes(f"{BOM}a {sentence}\nb\tx\n".encode())
    entries = read_kaldi_folder(tmp_path, audio_root=tmp_path)
    assert [entry.text for entry in entries] == [sentence, "x"]

    (tmp_path / "phrases.txt").write_bytes(f"{BOM}Lights\tlights{character}on\nOff\tlights off\n".encode())
    intents = import_phrases(tmp_path / "phrases.txt")["intents"]
    assert list(intents) == ["Lights", "Off"]

    inputs = find_inputs(["-"], listed=f"{BOM}/x/{sentence}.wav\r\n/x/b.wav\n".encode())
    assert [Path(recording.stretch.path).name for recording in inputs] == ["b.wav", f"{sentence}.wav"]


@pytest.mark.parametrize("character", ["\u2028", "\x85", "\u00a0", "\f"])
def test_words_of_an_arpa_file_are_parted_by_spaces_and_tabs(tmp_path: Path, character: str) -> None:
    words = ["<s>", "</s>", f"ice{character}cream"]
    grams = "".join(f"-1.0\t{word}\t0\n" for word in words)
    path = tmp_path / "a.arpa"
    path.write_bytes(f"{BOM}\\data\\\nngram 1=3\n\n\\1-grams:\n{grams}\n\\end\\\n".encode())
    assert read_words(path) == [f"ice{character}cream"]


def test_a_configuration_may_begin_with_a_byte_order_mark(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_bytes(f"{BOM}run: a\n".encode())
    assert read_values(tmp_path / "a.yaml") == {"run": "a"}


@pytest.fixture
def linked(tmp_path: Path) -> Path:
    """`here/link` leads to `there/deep`, so that `here/link/../a.wav` is `there/a.wav`, and not `here/a.wav`."""
    (tmp_path / "there" / "deep").mkdir(parents=True)
    (tmp_path / "here").mkdir()
    (tmp_path / "here" / "link").symlink_to(tmp_path / "there" / "deep")
    for folder in ("here", "there"):
        (tmp_path / folder / "a.wav").write_text(folder)
    return tmp_path


def test_the_parent_of_a_link_is_where_it_leads(linked: Path) -> None:
    there = str(linked / "there" / "a.wav")
    path = linked / "here" / "link" / ".." / "a.wav"
    assert absolute_path(path) == there
    assert absolute_path(linked / "here" / "link" / "..") == str(linked / "there")
    assert absolute_path(linked / "here" / "none" / ".." / "a.wav").endswith(
        "none/../a.wav"
    )  # not there for the system
    assert [recording.stretch.path for recording in find_inputs([str(path)])] == [there]
    assert [recording.stretch.path for recording in find_inputs([str(path.parent / "*.wav")])] == [there]
    assert [recording.stretch.path for recording in find_inputs(["-"], listed=str(path).encode())] == [there]

    line = {"audio_filepath": "link/../a.wav", "duration": 1.0, "text": ""}
    (linked / "here" / "m.jsonl").write_text(json.dumps(line))
    assert Manifest.read(linked / "here" / "m.jsonl")[0].audio_filepath == there
    (linked / "there" / "m.jsonl").write_text(json.dumps({**line, "audio_filepath": "a.wav"}))
    assert Manifest.read(linked / "here" / "link" / ".." / "m.jsonl")[0].audio_filepath == there


def test_what_is_written_is_the_file_that_the_system_opens(linked: Path) -> None:
    path = linked / "here" / "out.jsonl"
    write_manifest(path, [Utterance("a", str(linked / "here" / "link" / ".." / "a.wav"), 1.0)])
    assert Path(Manifest.read(path)[0].audio_filepath).read_text() == "there"


def test_a_root_keeps_recordings_inside_wherever_links_lead(linked: Path) -> None:
    path, here = linked / "here" / "m.jsonl", linked / "here"
    (here / "out.wav").symlink_to(linked / "there" / "a.wav")
    for audio in ("out.wav", "link/../a.wav", str(linked / "there" / "a.wav"), "link/x.wav"):
        path.write_text(json.dumps({"audio_filepath": audio, "duration": 1.0}))
        assert len(Manifest.read(path)) == 1
        with pytest.raises(
            ManifestError, match=r"m\.jsonl:1: audio_filepath .* outside of the root .*here; leave it out"
        ):
            Manifest.read(path, root=here)
        with pytest.raises(ManifestError, match=r"m\.jsonl:1: audio_filepath .* outside of the root"):
            find_inputs([str(path)], root=str(here))
        assert len(Manifest.read(path, root=linked)) == 1
    path.write_text(json.dumps({"audio_filepath": "a.wav", "duration": 1.0}))
    manifest = Manifest.read(path, root=here)
    (here / "a.wav").unlink()
    (here / "a.wav").symlink_to(linked / "there" / "a.wav")  # changed behind the check
    with pytest.raises(ManifestError, match="outside of the root"):
        manifest[0]
    with pytest.raises(ManifestError, match=r"the root .*none is no folder; expected the one"):
        Manifest.read(path, root=linked / "none")
    with pytest.raises(ValueError, match=r"root: .* without a manifest; expected one \.jsonl file"):
        find_inputs([str(here)], root=str(here))


@pytest.mark.parametrize(
    ("line", "fault"),
    [
        ('{"text": "on", "text": "off"}', "the key 'text' twice; expected each key once"),
        ('{"id": "a", "slots": {"x": 1, "x": 2}}', "the key 'x' twice"),
        ('{"offset": NaN}', "the number NaN; expected a finite one"),
        ('{"offset": 1e999}', "the number 1e999; expected a finite one"),
        ('{"offset": -Infinity}', "the number -Infinity"),
        ("[1]", "list; expected a JSON object"),
        ("{", "not JSON .*expected one JSON object a line"),
        ("[" * 100_000, "not JSON .*recursion"),
        (b"\xff", "not JSON .*utf-8"),
    ],
)
def test_a_line_with_two_meanings_is_refused(tmp_path: Path, line: str | bytes, fault: str) -> None:
    with pytest.raises(LineError, match=fault):
        parse_object(line)
    (tmp_path / "a.jsonl").write_bytes(line if isinstance(line, bytes) else line.encode())
    with pytest.raises(ManifestError, match=rf"a\.jsonl:1: {fault}"):
        Manifest.read(tmp_path / "a.jsonl")
    if isinstance(line, str):
        with pytest.raises(ValueError, match=rf"a\.jsonl:1: {fault}"):
            read_nemo_manifest(tmp_path / "a.jsonl")


def test_a_line_without_an_end_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("asr.files.json_lines.LONGEST_LINE", 1 << 20)
    path = tmp_path / "a.jsonl"
    good = json.dumps({"audio_filepath": "a.wav", "duration": 1.0})
    path.write_text(f'{good}\n{{"text": "{"x" * (1 << 20)}"}}')
    with pytest.raises(ManifestError, match=r"a\.jsonl:2: a line of more than 1 MiB; expected one JSON object a line"):
        Manifest.read(path)


def test_utterances_without_ids_get_places_as_ids(tmp_path: Path) -> None:
    lines = [("/data/a.wav", 0), ("/data/a.wav", 12345.678), ("x/a.b.wav", 0), ("data/a.flac", 0), ("data/a@2.wav", 0)]
    records = [{"audio_filepath": audio, "offset": offset, "duration": 1, "text": "x"} for audio, offset in lines]
    records.append({"id": "data/a@2", "audio_filepath": "c.wav", "duration": 1, "text": "x"})
    path = tmp_path / "all.json"
    path.write_text("\n".join(map(json.dumps, records)))
    expected = ["data/a", "data/a@12345.678", "x/a.b", "data/a~2", "data/a@2~2", "data/a@2"]
    assert [utterance.id for utterance in Manifest.read(path)] == expected
    assert Manifest.read(path)[-2].id == "data/a@2~2"
    assert [entry.id for entry in read_nemo_manifest(path)] == expected
    inputs = find_inputs([str(path)])
    assert [inputs.stem(recording.name) for recording in inputs] == expected


def test_ids_of_absolute_paths_are_places(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    records = [{"id": id_, "audio_filepath": "/a.wav", "duration": 1} for id_ in ("/data/a", "data/a", "//data/b")]
    path.write_text("\n".join(map(json.dumps, records)))
    inputs = find_inputs([str(path)])
    first, second, third = (inputs.stem(recording.name) for recording in inputs)
    assert (second, third) == ("data/a", "data/b")
    assert first.startswith("data/a~")  # both are kept
