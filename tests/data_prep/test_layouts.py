"""Which split a recording is in by where it lies, and that what is left out is said."""

import json
from pathlib import Path

import numpy as np
import pytest
import soundfile

from data_prep import folder, fsdd, kaldi, nemo
from data_prep.entries import CorpusError
from data_prep.layout import left_out, split_of


def write(*paths: Path) -> None:
    for number, path in enumerate(paths):
        path.parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(path, np.random.default_rng(number).uniform(-0.1, 0.1, 8000), 16_000)
        path.with_suffix(".txt").write_text(f"word {path.stem}\n")


def texts(output: Path) -> dict[str, list[str]]:
    return {
        path.stem: [json.loads(line)["text"] for line in path.read_text().splitlines()]
        for path in sorted(output.glob("*.jsonl"))
        if not path.name.startswith((".", "dropped"))
    }


def dropped(output: Path) -> dict[str, str]:
    return {each["id"]: each["reason"] for each in map(json.loads, (output / "dropped.jsonl").read_text().splitlines())}


@pytest.mark.parametrize("name", ["dev", "val", "valid", "Validation"])
def test_a_stray_recording_is_named_and_never_pooled(tmp_path: Path, capsys, name: str) -> None:
    corpus, output = tmp_path / "corpus", tmp_path / "output"
    write(*(corpus / top / f"{top[:2].lower()}{n}.wav" for top in ("train", name, "test") for n in range(2)))
    write(corpus / "stray.wav")
    assert folder.main([str(corpus), str(output), "--language", "none"]) == 0
    prefix = name[:2].lower()
    expected = {"train": "tr", "dev": prefix, "test": "te"}
    assert texts(output) == {split: [f"word {each}0", f"word {each}1"] for split, each in sorted(expected.items())}
    assert dropped(output) == {"stray": "beside the folders of the splits"}
    assert "left out: 1 recordings (stray): beside the folders train, dev, test" in capsys.readouterr().out


def test_other_folders_beside_the_splits_are_left_out_too(tmp_path: Path) -> None:
    corpus, output = tmp_path / "corpus", tmp_path / "output"
    write(corpus / "train" / "a.wav", corpus / "test" / "b.wav", corpus / "eval" / "c.wav")
    assert folder.main([str(corpus), str(output)]) == 0
    assert texts(output) == {"train": ["word a"], "test": ["word b"]}
    assert list(dropped(output)) == ["eval/c"]


def test_a_layout_that_is_not_clear_is_asked_for(tmp_path: Path) -> None:
    corpus, output = tmp_path / "corpus", tmp_path / "output"
    write(*(corpus / top / f"{top}{n}.wav" for top in ("anna", "bert", "test") for n in range(4)))
    with pytest.raises(CorpusError, match=r"the folder test beside anna, bert; expected train, dev .*--layout splits"):
        folder.main([str(corpus), str(output), "--split-by", "id"])
    folder.main([str(corpus), str(output), "--layout", "splits"])
    assert list(texts(output)) == ["test"]
    folder.main([str(corpus), str(output), "--layout", "carve", "--split-by", "id", "--test-share", "0.25"])
    assert sum(map(len, texts(output).values())) == 12
    (corpus / "val").mkdir()
    write(corpus / "val" / "x.wav", corpus / "dev" / "y.wav")
    with pytest.raises(CorpusError, match="dev and val are both dev; expected one of them"):
        folder.main([str(corpus), str(output)])


def test_a_table_counts_by_the_folder_that_the_system_finds(tmp_path: Path) -> None:
    corpus, output = tmp_path / "corpus", tmp_path / "output"
    write(corpus / "train" / "a.wav", corpus / "test" / "b.wav")
    (corpus / "t.csv").write_text("audio,text\ntrain/a.wav,on\ntrain/../test/b.wav,off\n")
    folder.main([str(corpus), str(output), "--transcripts", "t.csv"])
    assert texts(output) == {"train": ["on"], "test": ["off"]}


@pytest.mark.parametrize("top", ["", "train/"])
def test_folders_with_an_underscore_and_stray_files_are_no_words(tmp_path: Path, capsys, top: str) -> None:
    corpus, output = tmp_path / "corpus", tmp_path / "output"
    names = ["stray", "_background_noise_/n", "_background_noise_/deep/n", "turn_on/a", "turn-off/a"]
    write(*(corpus / f"{top}{name}.wav" for name in names))
    options = ["--transcripts", "folder", "--split-by", "id", "--dev-share", "0", "--test-share", "0"]
    assert folder.main([str(corpus), str(output), *options]) == 0
    assert texts(output) == {"train": ["turn off", "turn on"]}
    assert sorted(dropped(output)) == sorted(f"{top}{name}" for name in names[:3])
    said = " ".join(capsys.readouterr().out.split())
    assert f"left out: 1 recordings ({top}stray): no folder of its own names its words" in said
    assert "a folder with a leading underscore is no words" in said


def test_names_of_splits() -> None:
    assert [split_of(name) for name in ("Train", "VAL", "testing", "eval", "trainer")] == [
        "train",
        "dev",
        "test",
        None,
        None,
    ]
    assert left_out("files", [], "x") == ()
    assert left_out("files", list("abcdefg"), "x") == ("left out: 7 files (a, b, c, d, e and 2 more): x",)


@pytest.mark.parametrize("program", [kaldi, nemo])
def test_val_is_dev_and_others_are_named_in_lists_too(tmp_path: Path, capsys, program) -> None:
    corpus, output = tmp_path / "corpus", tmp_path / "output"
    corpus.mkdir()
    for name in ("train", "val", "extra"):
        write(corpus / "wav" / f"{name}.wav")
        if program is kaldi:
            (corpus / name).mkdir()
            (corpus / name / "wav.scp").write_text(f"{name} wav/{name}.wav\n")
            (corpus / name / "text").write_text(f"{name} word {name}\n")
        else:
            record = {"audio_filepath": f"wav/{name}.wav", "duration": 0.5, "text": f"word {name}"}
            (corpus / f"{name}_manifest.json").write_text(json.dumps(record))
    assert program.main([str(corpus), str(output)]) == 0
    assert texts(output) == {"train": ["word train"], "dev": ["word val"]}
    assert "(extra" in capsys.readouterr().out


def test_a_share_that_is_missed_is_said_with_its_reason(tmp_path: Path, capsys) -> None:
    corpus, output = tmp_path / "corpus", tmp_path / "output"
    write(*(corpus / "wav" / f"{speaker}-{n}.wav" for speaker, number in (("a", 20), ("b", 9)) for n in range(number)))
    options = ["--speaker-pattern", "/([ab])-", "--dev-share", "0", "--test-share", "0.1"]
    assert folder.main([str(corpus), str(output), *options]) == 0
    said = " ".join(capsys.readouterr().out.split())
    assert "test has 9 of 29 utterances (31%) where 10% were asked for: there are 2 speakers, of 9 to 20" in said
    folder.main([str(corpus), str(output), "--dev-share", "0", "--test-share", "0.1", "--split-by", "id"])
    assert "were asked for" not in capsys.readouterr().out


def test_recordings_with_other_names_are_said(tmp_path: Path, capsys) -> None:
    corpus = tmp_path / "recordings"
    write(*(corpus / f"{digit}_anna_{n}.wav" for digit in range(3) for n in range(8)), corpus / "hello.wav")
    for path in corpus.glob("*.txt"):
        path.unlink()
    assert fsdd.main([str(tmp_path), str(tmp_path / "output")]) == 0
    assert "left out: 1 files (hello.wav): expected names as" in " ".join(capsys.readouterr().out.split())
