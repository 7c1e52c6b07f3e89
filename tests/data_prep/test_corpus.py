"""data_prep/corpus.py, validation.py, summary.py: splitting, checking, remembering and reporting."""

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
import soundfile
from hypothesis import given
from hypothesis import strategies as st

from asr.data.manifest import Manifest
from data_prep import validation
from data_prep.corpus import carve, check_speakers, inner_folder, prepare, read_lines, say_bad, split_up
from data_prep.entries import Checks, Corpus, CorpusError, Entry, Splitting
from data_prep.options import corpus_parser, preparation_of, splitting_of
from data_prep.validation import PROBES_NAME, probe_recordings, validate

CHECKS = Checks(
    characters=None,
    keep_text=False,
    shortest=0.1,
    longest=10.0,
    lowest_rate=8000,
    sample_rate=None,
    decode=False,
    num_workers=2,
)


def write_noise(path: Path, *, seconds: float = 1.0, sample_rate: int = 16_000) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    noise = np.random.default_rng(0).uniform(-0.1, 0.1, round(seconds * sample_rate))
    soundfile.write(path, noise, sample_rate)
    return path


def entry(id_: str, *, speaker: str | None = "anna", text: str = "turn it on", folder: Path = Path("/x")) -> Entry:
    return Entry(id_, folder / f"{id_}.wav", text, speaker=speaker)


def options(*arguments: str) -> Splitting:
    parser = corpus_parser("", split_by="speaker", dev=0.1, test=0.1)
    return splitting_of(parser.parse_args(["corpus", "output", *arguments]))


entries_of_speakers = st.lists(st.sampled_from("abcdefghij"), min_size=2, max_size=60).map(
    lambda speakers: [entry(f"{index}", speaker=speaker) for index, speaker in enumerate(speakers)]
)


@given(
    entries=entries_of_speakers.filter(lambda entries: len({each.speaker for each in entries}) > 1),
    share=st.floats(0.01, 0.9),
    order=st.randoms(use_true_random=False),
)
def test_carving_keeps_groups_together_and_depends_on_nothing_else(entries, share, order):
    kept, taken = carve(entries, name="dev", share=share, by="speaker")
    assert sorted(each.id for each in (*kept, *taken)) == sorted(each.id for each in entries)
    assert not {each.speaker for each in kept} & {each.speaker for each in taken}
    assert taken
    assert kept
    smallest = min(sum(each.speaker == speaker for each in entries) for speaker in {each.speaker for each in entries})
    assert len(taken) <= max(share * len(entries), smallest)
    shuffled = list(entries)
    order.shuffle(shuffled)
    assert {each.id for each in carve(shuffled, name="dev", share=share, by="speaker")[1]} == {e.id for e in taken}


def test_carving_by_text_and_id_and_not_at_all():
    entries = [entry(f"{index}", speaker=None, text=f"Say {index % 20}!") for index in range(200)]
    kept, taken = carve(entries, name="test", share=0.1, by="text")
    assert len(taken) == 20
    assert not {each.text for each in kept} & {each.text for each in taken}
    assert len(carve(entries, name="test", share=0.1, by="id")[1]) == 20
    assert carve(entries, name="test", share=0.0, by="speaker")[1] == []
    assert carve([], name="test", share=0.1, by="speaker") == ([], [])


def test_what_cannot_be_carved_is_an_error():
    with pytest.raises(CorpusError, match=r"dev: one speaker in all \('anna'\); .*--dev-share 0"):
        carve([entry("a"), entry("b")], name="dev", share=0.5, by="speaker")
    with pytest.raises(CorpusError, match=r"b: no speaker; .*--split-by id or text"):
        carve([entry("a"), entry("b", speaker=None)], name="dev", share=0.5, by="speaker")
    with pytest.raises(CorpusError, match=r"--dev-share 0\.5 and --test-share 0\.6; expected a sum below 1"):
        split_up([entry("a")], options("--dev-share", "0.5", "--test-share", "0.6"))


@pytest.mark.parametrize("share", ["1", "-0.1", "nan"])
def test_a_share_that_is_none_is_refused(share, capsys):
    with pytest.raises(SystemExit):
        options("--dev-share", share)
    assert f"{share}; expected a share from 0 to below 1" in capsys.readouterr().err


def test_the_shares_are_of_the_whole():
    corpus = split_up([entry(f"{index}", speaker=f"{index}") for index in range(1000)], options("--test-share", "0.5"))
    assert {name: len(entries) for name, entries in corpus.splits.items()} == {"train": 400, "dev": 100, "test": 500}


def test_a_speaker_in_two_splits_is_an_error_unless_allowed():
    splits = {
        "train": [entry("a"), entry("b", speaker="bert")],
        "dev": [entry("c", speaker=None)],
        "test": [entry("d")],
    }
    with pytest.raises(CorpusError, match=r"1 speakers are in both train and test \(anna .*--allow-shared-speakers"):
        check_speakers(splits, allowed=False)
    assert len(check_speakers(splits, allowed=True)) == 1
    assert check_speakers({"train": splits["train"], "dev": splits["dev"]}, allowed=False) == []


def test_the_folder_of_a_corpus_is_found(tmp_path):
    (tmp_path / "corpus-1.0" / "clips").mkdir(parents=True)
    find = {"holds": lambda folder: (folder / "clips").is_dir(), "what": "clips/"}
    assert inner_folder(tmp_path, **find) == inner_folder(tmp_path / "corpus-1.0", **find) == tmp_path / "corpus-1.0"
    with pytest.raises(CorpusError, match="not this corpus; expected clips/ there or one folder below"):
        inner_folder(tmp_path / "corpus-1.0" / "clips", **find)
    with pytest.raises(CorpusError, match="absent: no such folder; expected a corpus: clips/"):
        inner_folder(tmp_path / "absent", **find)


def test_lists_are_utf8(tmp_path):
    (tmp_path / "a.txt").write_bytes("\ufeffça\nva".encode())
    assert read_lines(tmp_path / "a.txt") == ["ça", "va"]
    (tmp_path / "b.txt").write_bytes("ça".encode("latin-1"))
    with pytest.raises(CorpusError, match=r"b\.txt: not UTF-8 \(.* at byte 0\); convert it with iconv"):
        read_lines(tmp_path / "b.txt")
    with pytest.raises(CorpusError, match=r"c\.txt: no such file; expected a list"):
        read_lines(tmp_path / "c.txt")


def test_a_list_that_memory_does_not_hold_is_named(tmp_path, monkeypatch):
    def fail(path: Path) -> bytes:
        raise MemoryError

    (tmp_path / "a.txt").write_bytes(b"yes")
    monkeypatch.setattr(Path, "read_bytes", fail)
    with pytest.raises(CorpusError, match=r"a\.txt: 3 bytes, more than memory holds; expected a list"):
        read_lines(tmp_path / "a.txt")


def test_every_fault_of_an_utterance_is_a_reason(tmp_path):
    good = write_noise(tmp_path / "good.wav")
    (tmp_path / "broken.wav").write_bytes(b"RIFF not quite")
    cases = {
        "": Entry("good", good, "Turn it ON.", "anna"),
        "id twice": Entry("good", good, "turn it on", offset=0.1),
        "recording listed twice": Entry("again", good, "Turn it on!"),
        "no such file": Entry("absent", tmp_path / "absent.wav", "turn it on"),
        "unreadable": Entry("broken", tmp_path / "broken.wav", "turn it on"),
        "wrong sample rate": Entry("slow", write_noise(tmp_path / "slow.wav", sample_rate=4000), "turn it on"),
        "past the recording's end": Entry("past", good, "turn it on", offset=0.5, duration=0.7),
        "too short": Entry("short", write_noise(tmp_path / "short.wav", seconds=0.05), "turn it on"),
        "too long": Entry("long", write_noise(tmp_path / "long.wav", seconds=10.5), "turn it on"),
        "empty transcript": Entry("empty", write_noise(tmp_path / "empty.wav"), " ... "),
        "characters outside the vocabulary": Entry("foreign", write_noise(tmp_path / "f.wav"), "ça va"),
    }
    checks = dataclasses.replace(CHECKS, characters="abcdefghijklmnopqrstuvwxyz'")
    kept, dropped = validate({"train": list(cases.values())}, checks=checks, output_dir=tmp_path / "out")
    assert [each.utterance.id for each in kept["train"]] == ["good"]
    assert kept["train"][0].utterance.text == "turn it on"
    assert [each.reason for each in dropped] == [reason for reason in cases if reason]
    details = {each.reason: each.detail for each in dropped}
    assert details["characters outside the vocabulary"] == "ç"
    assert details["wrong sample rate"] == "4000 Hz"
    assert details["unreadable"].startswith("not readable as audio")


def test_a_recording_with_two_transcripts_has_none(tmp_path):
    """However its stretch is stated, and wherever it is listed; equal ones after cleaning are no contradiction."""
    good, other = write_noise(tmp_path / "good.wav"), write_noise(tmp_path / "other.wav")
    (tmp_path / "link.wav").symlink_to(good)
    entries = [
        Entry("a", good, "turn it on", place="t.csv:2"),
        Entry("a", good, "turn it off", offset=0.0, duration=1.0, place="t.csv:3"),
        Entry("half", good, "turn", offset=0.5),
        Entry("other", other, "Turn it on."),
        Entry("other again", other, "turn it on"),
    ]
    tested = [Entry("linked", tmp_path / "link.wav", "turn it up")]
    kept, dropped = validate({"train": entries, "test": tested}, checks=CHECKS, output_dir=tmp_path / "out")
    assert [each.utterance.id for each in kept["train"]] == ["half", "other"]
    assert kept["test"] == []
    detail = "'turn it on' (t.csv:2) and 'turn it off' (t.csv:3) and 'turn it up' (linked)"
    assert [(each.id, each.reason, each.detail) for each in dropped] == [
        ("a", "listed with different transcripts", detail),
        ("a", "listed with different transcripts", detail),
        ("other again", "recording listed twice", ""),
        ("linked", "listed with different transcripts", detail),
    ]


def test_a_name_that_is_nearly_right_is_hinted_at(tmp_path):
    write_noise(tmp_path / "wav" / "a.wav")
    entries = [Entry("blank", tmp_path / "wav" / " a.wav", "on"), Entry("back", tmp_path / "wav\\a.wav", "on")]
    entries += [Entry("gone", tmp_path / "b.wav", "on")]
    _, dropped = validate({"train": entries}, checks=CHECKS, output_dir=tmp_path / "out")
    assert [each.detail for each in dropped] == [
        "there are blanks around its name; without them it is there",
        "it is there with / in place of \\",
        "",
    ]


def test_other_rates_can_be_refused_and_texts_kept(tmp_path):
    entries = [
        Entry(f"{rate}", write_noise(tmp_path / f"{rate}.wav", sample_rate=rate), "ON!") for rate in (8000, 16_000)
    ]
    checks = dataclasses.replace(CHECKS, sample_rate=16_000, keep_text=True)
    kept, dropped = validate({"train": entries}, checks=checks, output_dir=tmp_path / "out")
    assert [(each.utterance.id, each.utterance.text, each.sample_rate) for each in kept["train"]] == [
        ("16000", "ON!", 16_000)
    ]
    assert [each.reason for each in dropped] == ["wrong sample rate"]


def test_a_stretch_is_cut_at_the_end(tmp_path):
    path = write_noise(tmp_path / "a.wav", seconds=2.0)
    entries = [Entry("a", path, "on", offset=1.5, duration=0.55), Entry("b", path, "on", offset=0.5)]
    kept, _ = validate({"train": entries}, checks=CHECKS, output_dir=tmp_path / "out")
    assert [(each.utterance.offset, each.utterance.duration) for each in kept["train"]] == [(1.5, 0.5), (0.5, 1.5)]


def test_decoding_finds_what_headers_hide(tmp_path):
    path = tmp_path / "nan.wav"
    soundfile.write(path, np.full(16_000, np.nan), 16_000, subtype="FLOAT")
    for decode, reasons in ((False, []), (True, ["unreadable"]), (False, ["unreadable"])):
        checks = dataclasses.replace(CHECKS, decode=decode)
        _, dropped = validate({"train": [Entry("a", path, "on")]}, checks=checks, output_dir=tmp_path / "out")
        assert [each.reason for each in dropped] == reasons


def test_only_new_and_changed_recordings_are_probed_again(tmp_path, monkeypatch):
    paths = [write_noise(tmp_path / f"{index}.wav", seconds=1 + index) for index in range(5)]
    probed: list[Path] = []
    real = validation.read_info
    monkeypatch.setattr(validation, "read_info", lambda path: (probed.append(path), real(path))[1])

    def probe() -> list[float]:
        probed.clear()
        probes = probe_recordings(paths, checks=CHECKS, output_dir=tmp_path / "out")
        return [probes[path].duration for path in paths]

    assert probe() == [1, 2, 3, 4, 5]
    assert sorted(probed) == paths
    assert probe() == [1, 2, 3, 4, 5]
    assert probed == []
    write_noise(paths[0], seconds=7)
    # A run killed while writing leaves half a line.
    remembered = tmp_path / "out" / PROBES_NAME
    lines = remembered.read_text().splitlines()
    lost = Path(json.loads(lines[-1])["path"])
    remembered.write_text("\n".join([*lines[:-1], lines[-1][:20]]))
    assert probe() == [7, 2, 3, 4, 5]
    assert sorted(probed) == sorted({paths[0], lost})
    assert probe() == [7, 2, 3, 4, 5]
    assert probed == []


@pytest.fixture
def prepared(tmp_path):
    """A corpus of three splits, with options to prepare it."""
    splits = {
        name: [
            Entry(f"{name}-{index}", write_noise(tmp_path / "wav" / f"{name}-{index}.wav"), f"{name} {index}", name)
            for index in range(3)
        ]
        for name in ("train", "dev", "test")
    }
    return Corpus(splits), preparation_of(corpus_parser("").parse_args([str(tmp_path / "wav"), str(tmp_path / "out")]))


def test_manifests_and_a_summary_are_written(prepared, capsys):
    corpus, arguments = prepared
    assert prepare(corpus, arguments) == 0
    manifest = Manifest.read(arguments.output_dir / "dev.jsonl")
    assert [(each.id, each.text, each.speaker, each.duration) for each in manifest] == [
        (f"dev-{index}", f"dev {word}", "dev", 1.0) for index, word in enumerate(("zero", "one", "two"))
    ]
    output = capsys.readouterr().out
    for row in (r"train dev test", "utterances 3 3 3", "speakers 1 1 1", "words 6 6 6", "longest 1.00 s 1.00 s 1.00 s"):
        assert row in " ".join(output.split())
    assert "16,000 Hz: 3" in output
    assert "dropped" not in output


def test_what_is_dropped_is_told_and_bad_files_end_in_4(prepared, capsys):
    corpus, arguments = prepared
    corpus.splits["train"][0].audio.unlink()
    corpus.splits["test"].append(dataclasses.replace(corpus.splits["train"][1], id="twice", speaker="test"))
    assert prepare(corpus, arguments) == 4
    assert len(Manifest.read(arguments.output_dir / "train.jsonl")) == 2
    shown = capsys.readouterr()
    output = " ".join(shown.out.split())
    assert "no such file 1 " in output
    assert "recording listed twice 1 " in output
    assert f"not used: {corpus.splits['train'][0].audio}: no such file\n" in shown.err
    assert "recording listed twice" not in shown.err
    dropped = [json.loads(line) for line in (arguments.output_dir / "dropped.jsonl").open()]
    assert [(each["id"], each["reason"]) for each in dropped] == [
        ("train-0", "no such file"),
        ("twice", "recording listed twice"),
    ]


def test_two_transcripts_of_one_recording_end_in_4(prepared, capsys):
    corpus, arguments = prepared
    first = corpus.splits["train"][0]
    corpus.splits["train"].append(dataclasses.replace(first, id="again", text="another", place="t.csv:9"))
    assert prepare(corpus, arguments) == 4
    assert len(Manifest.read(arguments.output_dir / "train.jsonl")) == 2
    said = "listed with different transcripts: 'train zero' (train-0) and 'another' (t.csv:9)"
    assert capsys.readouterr().err.count(said) == 1


def test_only_some_of_many_bad_files_are_named(capsys):
    assert say_bad(f"{number}" for number in range(50)) == 4
    assert capsys.readouterr().err.splitlines()[-2:] == ["not used: 19", "not used: 30 more"]
    assert say_bad([]) == 0


def test_sentences_of_train_in_test_are_told(prepared, capsys):
    corpus, arguments = prepared
    corpus.splits["test"][0] = dataclasses.replace(corpus.splits["test"][0], text="train 1")
    assert prepare(corpus, arguments) == 0
    assert "note: 1 of 3 transcripts of test are in train too" in capsys.readouterr().out


def test_an_empty_split_has_no_manifest(prepared, capsys):
    corpus, arguments = prepared
    prepare(corpus, arguments)
    assert prepare(Corpus({"train": corpus.splits["train"], "dev": []}), arguments) == 0
    assert sorted(path.name for path in arguments.output_dir.glob("*.jsonl") if path.name != PROBES_NAME) == [
        "dropped.jsonl",
        "train.jsonl",
    ]
    assert "nothing for dev and test: no such manifest written" in capsys.readouterr().out


def test_nothing_left_is_an_error_and_harms_nothing(prepared):
    corpus, arguments = prepared
    prepare(corpus, arguments)
    checks = dataclasses.replace(arguments.checks, shortest=2.0)
    with pytest.raises(CorpusError, match=r"no utterance left; of 3 dropped the first is train-0: too short"):
        prepare(Corpus({"train": corpus.splits["train"]}), dataclasses.replace(arguments, checks=checks))
    with pytest.raises(CorpusError, match=r"wav: no utterance left; expected a corpus with usable ones"):
        prepare(Corpus({}), arguments)
    assert len(Manifest.read(arguments.output_dir / "train.jsonl")) == 3


def test_a_shared_speaker_stops_before_anything_is_written(prepared):
    corpus, arguments = prepared
    shared = {**corpus.splits, "dev": corpus.splits["train"]}
    with pytest.raises(CorpusError, match="1 speakers are in both train and dev"):
        prepare(Corpus(shared), arguments)
    assert not arguments.output_dir.exists()
