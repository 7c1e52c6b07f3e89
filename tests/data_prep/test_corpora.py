"""data_prep/<corpus>.py: each reader on a tiny corpus of its form; the real recordings are in test_corpora_real.py."""

import gzip
import importlib
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile

from asr.data.manifest import Manifest, Utterance
from asr.data.manifest_writing import write_manifest
from data_prep import (
    barista,
    common_voice,
    folder,
    fsdd,
    kaldi,
    lhotse_cuts,
    librispeech,
    nemo,
    speech_commands,
    speechocean762,
)
from data_prep.entries import CorpusError
from data_prep.fsdd import WORDS

PROGRAMS = (barista, common_voice, folder, fsdd, kaldi, lhotse_cuts, librispeech, nemo, speech_commands, speechocean762)


def write_noise(path: Path, *, seconds: float = 1.0, num_channels: int = 1) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    noise = np.random.default_rng(0).uniform(-0.1, 0.1, (round(seconds * 16_000), num_channels))
    soundfile.write(path, noise, 16_000)
    return path


def write_lines(path: Path, *lines: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(f"{line}\n" for line in lines))


@pytest.fixture
def corpus(tmp_path):
    return tmp_path / "corpus"


@pytest.fixture
def prepare(tmp_path, corpus):
    """Run a program on the corpus, which numbers its sentences in digits; give {split: {id: (text, speaker)}}."""

    def run(program, *arguments: str, code: int = 0) -> dict[str, dict[str, tuple[str, str | None]]]:
        output = tmp_path / "output"
        assert program.main([str(corpus), str(output), "--language", "none", *arguments]) == code
        manifests = {path.stem: Manifest.read(path) for path in output.glob("*.jsonl") if path.stem in splits}
        return {name: {each.id: (each.text, each.speaker) for each in manifest} for name, manifest in manifests.items()}

    splits = ("train", "dev", "test")
    return run


@pytest.mark.parametrize("program", [program.__name__ for program in PROGRAMS])
def test_help_imports_nothing_heavy(program):
    """What makes `--help` slow is imports; time itself depends on what else the machine does."""
    command = [sys.executable, "-X", "importtime", "-m", program, "--help"]
    result = subprocess.run(command, capture_output=True, text=True, check=True, cwd=Path(__file__).parents[2])
    assert "CORPUS_DIR" in result.stdout
    imported = {line.split("|")[-1].strip() for line in result.stderr.splitlines()}
    assert not imported & {"torch", "numpy", "soundfile", "rich", "lhotse", "asr.data.manifest"}


def test_a_users_mistake_is_one_line(tmp_path):
    command = [sys.executable, "-m", "data_prep.fsdd", str(tmp_path / "absent"), str(tmp_path / "out")]
    result = subprocess.run(command, capture_output=True, text=True, check=False, cwd=Path(__file__).parents[2])
    assert result.returncode == 2
    assert result.stderr == f"error: {tmp_path / 'absent'}: no such folder; expected a corpus: recordings/\n"


# fsdd


@pytest.fixture
def digits(corpus):
    for digit in (0, 7):
        for speaker in ("anna", "bert"):
            for index in range(10):
                write_noise(corpus / "recordings" / f"{digit}_{speaker}_{index}.wav")
    write_lines(corpus / "recordings" / "README.md", "notes")


def test_fsdd_has_its_official_test(prepare, digits):
    splits = prepare(fsdd, "--dev-share", "0.2")
    assert {name: len(utterances) for name, utterances in splits.items()} == {"train": 16, "dev": 4, "test": 20}
    assert splits["test"]["7_anna_4"] == ("seven", "anna")
    assert all(int(id_[-1]) < 5 for id_ in splits["test"])
    assert set(WORDS) >= {text for utterances in splits.values() for text, _ in utterances.values()}


def test_fsdd_leaves_a_speaker_out(prepare, digits):
    splits = prepare(fsdd, "--leave-out", "bert")
    assert {speaker for _, speaker in splits["test"].values()} == {"bert"}
    assert len(splits["test"]) == 20
    assert {speaker for name in ("train", "dev") for _, speaker in splits[name].values()} == {"anna"}
    with pytest.raises(CorpusError, match="--leave-out carl: no such speaker; expected one of anna, bert"):
        prepare(fsdd, "--leave-out", "carl")


# kaldi


@pytest.fixture
def kaldi_corpus(corpus):
    for split, speaker in (("train", "anna"), ("test", "bert")):
        ids = [f"{speaker}-{index}" for index in range(2)]
        for id_ in ids:
            write_noise(corpus / "wav" / f"{id_}.wav", seconds=3.0)
        write_lines(corpus / split / "wav.scp", *(f"{id_} wav/{id_}.wav" for id_ in ids))
        write_lines(corpus / split / "text", *(f"{id_} TURN  IT {id_[-1]}" for id_ in ids))
        write_lines(corpus / split / "utt2spk", *(f"{id_}\t{speaker}" for id_ in ids))
    return corpus


def test_kaldi_folders(prepare, kaldi_corpus):
    splits = prepare(kaldi)
    assert splits == {
        "train": {"anna-0": ("turn it 0", "anna"), "anna-1": ("turn it 1", "anna")},
        "test": {"bert-0": ("turn it 0", "bert"), "bert-1": ("turn it 1", "bert")},
    }


def test_kaldi_segments(prepare, tmp_path, corpus, kaldi_corpus):
    write_lines(corpus / "train" / "segments", "u1 anna-0 0.5 1.75", "u2 anna-0 2.0 -1", "u3 anna-1 0 1")
    write_lines(corpus / "train" / "text", "u1 ON", "u2 OFF")
    write_lines(corpus / "train" / "utt2spk", "u1 anna", "u2 anna", "u3 anna")
    assert prepare(kaldi)["train"] == {"u1": ("on", "anna"), "u2": ("off", "anna")}
    manifest = Manifest.read(tmp_path / "output" / "train.jsonl")
    assert [(each.offset, each.duration) for each in manifest] == [(0.5, 1.25), (2.0, 1.0)]
    assert '"u3"' in (tmp_path / "output" / "dropped.jsonl").read_text()


def test_a_single_kaldi_folder_is_split(prepare, corpus):
    ids = [str(index) for index in range(30)]
    for id_ in ids:
        write_noise(corpus / "wav" / f"{id_}.wav")
    write_lines(corpus / "wav.scp", *(f"{id_} wav/{id_}.wav" for id_ in ids))
    write_lines(corpus / "text", *(f"{id_} word {id_}" for id_ in ids))
    splits = prepare(kaldi, "--split-by", "id", "--test-share", "0.2")
    assert {name: len(utterances) for name, utterances in splits.items()} == {"train": 21, "dev": 3, "test": 6}


@pytest.mark.parametrize(
    ("name", "line", "fault"),
    [
        ("wav.scp", "c sox a.wav -t wav - |", r"wav\.scp: c: the command 'sox a\.wav .*'; .*commands are not run"),
        ("wav.scp", "c | cat a.wav", r"wav\.scp: c: the command '\| cat a\.wav'"),
        ("text", " ", r"text:3: an empty line; expected an id and its value"),
        ("text", "anna-1 AGAIN", r"text:3: anna-1 a second time; expected each id once"),
        ("segments", "u1 anna-0 0.5", r"segments: u1 anna-0 0\.5: expected a recording, its start and end"),
        ("segments", "u1 anna-0 0.5 x", r"segments: u1 anna-0 0\.5 x: expected a recording"),
        ("segments", "u1 carl 0 1", r"segments: u1: no recording carl in wav\.scp"),
        ("segments", "u1 anna-0 1 1", r"segments: u1: from 1 to 1 s; expected a start before the end"),
    ],
)
def test_kaldi_faults_are_named(prepare, kaldi_corpus, name, line, fault):
    with (kaldi_corpus / "train" / name).open("a") as file:
        file.write(f"{line}\n")
    with pytest.raises(CorpusError, match=fault):
        prepare(kaldi)


def test_a_folder_that_is_not_kaldis(prepare, corpus):
    corpus.mkdir()
    with pytest.raises(CorpusError, match=r"no wav\.scp there or in train, dev, test; expected a Kaldi data folder"):
        prepare(kaldi)


# speechocean762


@pytest.fixture
def ocean(corpus, kaldi_corpus):
    """Accuracies 5, 6 in train; 6, 7 in test; the archive's folder inside the corpus's."""
    accuracies = {"anna-0": 5, "anna-1": 6, "bert-0": 6, "bert-1": 7}
    for index in range(4):
        id_ = f"carla{index}-0"
        write_noise(corpus / "wav" / f"{id_}.wav")
        for name, value in (("wav.scp", f"wav/{id_}.wav"), ("text", "GO"), ("utt2spk", f"carla{index}")):
            with (corpus / "train" / name).open("a") as file:
                file.write(f"{id_}\t{value}\n")
        accuracies[id_] = 9
    (corpus / "resource").mkdir()
    return accuracies


def write_scores(corpus: Path, accuracies: dict[str, float], *, form: str) -> None:
    if form == "json":
        scores = {id_: {"text": "X", "accuracy": accuracy, "total": 8} for id_, accuracy in accuracies.items()}
        (corpus / "resource" / "scores.json").write_text(json.dumps(scores))
    else:
        rows = (f"{id_}\ttrain\tanna\t6\t2.58\t{accuracy:.2f}\t7.72\tX" for id_, accuracy in accuracies.items())
        write_lines(corpus / "resource" / "utt_scores.tsv", *rows)


@pytest.mark.parametrize("form", ["json", "tsv"])
def test_speechocean762_keeps_what_was_read_well(prepare, corpus, ocean, form):
    write_scores(corpus, ocean, form=form)
    splits = prepare(speechocean762, "--dev-share", "0.25")
    assert splits["test"] == {"bert-1": ("turn it 1", "bert")}
    assert len(splits["dev"]) == 1
    assert {**splits["train"], **splits["dev"]}.keys() == {"anna-1", *(f"carla{index}-0" for index in range(4))}
    assert prepare(speechocean762, "--min-test-accuracy", "6")["test"].keys() == {"bert-0", "bert-1"}


def test_speechocean762_needs_accuracies(prepare, corpus, ocean):
    with pytest.raises(CorpusError, match=r"utt_scores\.tsv: no such file"):
        prepare(speechocean762)
    write_lines(corpus / "resource" / "utt_scores.tsv", "anna-0\ttrain")
    with pytest.raises(CorpusError, match=r"utt_scores\.tsv: not in the expected form .*expected an accuracy of each"):
        prepare(speechocean762)
    row = "anna-0\ttrain\tanna\t6\t2.58\t9\t7.72\tX"
    write_lines(corpus / "resource" / "utt_scores.tsv", row, row)
    with pytest.raises(CorpusError, match=r"utt_scores\.tsv: anna-0 twice; expected an accuracy of each id"):
        prepare(speechocean762)
    (corpus / "resource" / "scores.json").write_text('{"anna-0": {"accuracy": 9}, "anna-0": {"accuracy": 1}}')
    with pytest.raises(CorpusError, match=r"scores\.json: not in the expected form .*'anna-0' twice"):
        prepare(speechocean762)
    ocean.pop("bert-0")
    write_scores(corpus, ocean, form="json")
    with pytest.raises(CorpusError, match="resource: no accuracy of bert-0; expected one for every utterance"):
        prepare(speechocean762)


# nemo


def nemo_line(corpus: Path, name: str, **keys) -> str:
    write_noise(corpus / f"{name}.wav", seconds=2.0)
    return json.dumps({"audio_filepath": f"{name}.wav", "duration": 2.0, "text": name, **keys})


def test_nemo_manifests_of_each_split(prepare, tmp_path, corpus):
    write_lines(
        corpus / "train_manifest.json",
        nemo_line(corpus, "on", speaker=7, lang="en"),
        "",
        nemo_line(corpus, "on", offset=0.5, duration=1),
    )
    write_lines(corpus / "test.jsonl", nemo_line(corpus, "off", id="x", speaker=None))
    assert prepare(nemo) == {"train": {"on": ("on", "7"), "on@0.5": ("on", None)}, "test": {"x": ("off", None)}}
    assert Manifest.read(tmp_path / "output" / "train.jsonl")[0].extra == {"lang": "en"}


def test_a_single_nemo_manifest_is_split(prepare, corpus):
    write_lines(corpus / "all.json", *(nemo_line(corpus, f"w{index}", speaker=f"{index}") for index in range(20)))
    splits = prepare(nemo)
    assert {name: len(utterances) for name, utterances in splits.items()} == {"train": 16, "dev": 2, "test": 2}


@pytest.mark.parametrize(
    ("line", "fault"),
    [
        ("{", r"train\.json:1: not JSON"),
        ("[]", r"train\.json:1: list; expected a JSON object"),
        (
            '{"audio_filepath": "a.wav", "text": "a"}',
            r"train\.json:1: duration is None; expected a whole number or sec",
        ),
        ('{"audio_filepath": "a.wav", "duration": true, "text": "a"}', r"train\.json:1: duration is True"),
        ('{"audio_filepath": "a.wav", "duration": 1, "text": null}', r"train\.json:1: text is None; expected text"),
        ('{"audio_filepath": "a", "duration": 1, "text": "a", "speaker": []}', r"speaker is \[\]; expected text or a"),
    ],
)
def test_nemo_faults_are_named(prepare, corpus, line, fault):
    write_lines(corpus / "train.json", line)
    with pytest.raises(CorpusError, match=fault):
        prepare(nemo)


def test_several_nemo_manifests_need_names(prepare, corpus):
    corpus.mkdir()
    with pytest.raises(CorpusError, match=r"0 files named .*; expected one manifest, or train\.jsonl"):
        prepare(nemo)
    write_lines(corpus / "a.json", "{}")
    write_lines(corpus / "b.json", "{}")
    with pytest.raises(CorpusError, match="2 files named"):
        prepare(nemo)


# folder


def test_transcripts_beside_recordings(prepare, tmp_path, corpus):
    for split in ("train", "dev", "test"):
        for suffix in ("txt", "lab"):
            write_noise(corpus / split / f"{split}{suffix}" / "a.wav")
            write_lines(corpus / split / f"{split}{suffix}" / f"a.{suffix}", "Turn", f"it {suffix}")
    write_noise(corpus / "train" / "alone.wav")
    splits = prepare(folder, "--speaker-pattern", "^[^/]+/([^/]+)/")
    assert splits["dev"] == {
        "dev/devlab/a": ("turn it lab", "devlab"),
        "dev/devtxt/a": ("turn it txt", "devtxt"),
    }
    assert len(splits["train"]) == len(splits["test"]) == 2
    assert "no .txt or .lab beside it" in (tmp_path / "output" / "dropped.jsonl").read_text()


def test_transcripts_in_the_names_of_folders(prepare, corpus):
    for index in range(10):
        write_noise(corpus / "smart_mirror" / f"{index}.wav")
        write_noise(corpus / "alexa" / f"{index}.wav")
    splits = prepare(folder, "--transcripts", "folder", "--split-by", "id")
    everything = {id_: text for utterances in splits.values() for id_, (text, _) in utterances.items()}
    assert len(everything) == 20
    assert everything["smart_mirror/3"] == "smart mirror"
    assert {name: len(utterances) for name, utterances in splits.items()} == {"train": 16, "dev": 2, "test": 2}


@pytest.mark.parametrize(
    ("name", "rows"),
    [
        ("all.csv", ["file,sentence,who", '"a.wav","Turn it on, please",anna', "b.wav,Off,bert", "c.wav,Up,carl"]),
        ("all.tsv", ["who\tfile\tsentence", 'anna\ta.wav\tTurn it "on" please', "bert\tb.wav\tOff", "carl\tc.wav\tUp"]),
    ],
)
def test_transcripts_in_a_table(prepare, corpus, name, rows):
    for letter in "abc":
        write_noise(corpus / f"{letter}.wav")
    write_lines(corpus / name, *rows)
    columns = ("--audio-column", "file", "--text-column", "sentence", "--speaker-column", "who")
    splits = prepare(folder, "--transcripts", name, *columns)
    assert {id_: text for utterances in splits.values() for id_, text in utterances.items()} == {
        "a": ("turn it on please", "anna"),
        "b": ("off", "bert"),
        "c": ("up", "carl"),
    }


def test_faults_of_a_table_are_named(prepare, corpus):
    write_lines(corpus / "all.csv", "file,text", "a.wav,on")
    with pytest.raises(CorpusError, match=r"all\.csv: no column audio; found file, text; say --audio-column"):
        prepare(folder, "--transcripts", "all.csv")
    write_lines(corpus / "all.csv", "audio,text", "a.wav")
    with pytest.raises(CorpusError, match=r"all\.csv:2: audio or text is missing; expected both in every row"):
        prepare(folder, "--transcripts", "all.csv")
    with pytest.raises(CorpusError, match=r"absent\.csv: no such file"):
        prepare(folder, "--transcripts", "absent.csv")


def test_speakers_are_found_or_missed(prepare, corpus, capsys):
    write_noise(corpus / "on" / "a.wav")
    with pytest.raises(CorpusError, match="on/a: no match of --speaker-pattern; expected one in every path"):
        prepare(folder, "--transcripts", "folder", "--speaker-pattern", r"(\d)")
    for pattern, fault in (("(", "expected a regular expression"), ("a", "0 groups; expected one")):
        with pytest.raises(SystemExit):
            prepare(folder, "--speaker-pattern", pattern)
        assert fault in capsys.readouterr().err


# librispeech


@pytest.fixture
def libri(corpus):
    for part, speaker in (("train-clean-100", "19"), ("dev-clean", "84"), ("test-other", "367")):
        chapter = corpus / "LibriSpeech" / part / speaker / "5"
        for index in range(2):
            write_noise(chapter / f"{speaker}-5-000{index}.flac")
        write_lines(
            chapter / f"{speaker}-5.trans.txt", *(f"{speaker}-5-000{index} OH IT'S {index}" for index in range(2))
        )
    return corpus / "LibriSpeech"


def test_librispeech(prepare, tmp_path, libri):
    splits = prepare(librispeech)
    assert splits["train"] == {"19-5-0000": ("oh it's 0", "19"), "19-5-0001": ("oh it's 1", "19")}
    assert [len(splits[name]) for name in ("train", "dev", "test")] == [2, 2, 2]
    assert Manifest.read(tmp_path / "output" / "test.jsonl")[0].extra == {"part": "test-other"}
    assert prepare(librispeech, "--parts", "dev-clean").keys() == {"dev"}


def test_librispeech_faults_are_named(prepare, libri):
    with pytest.raises(CorpusError, match="LibriSpeech: no part test-clean; --download fetches those"):
        prepare(librispeech, "--parts", "test-clean")
    with pytest.raises(CorpusError, match="--download: all parts are 60 GB; choose some: --parts dev-clean"):
        prepare(librispeech, "--download")
    write_lines(libri / "dev-clean" / "84" / "5" / "84-5.trans.txt", "84-5-0000")
    with pytest.raises(CorpusError, match=r"84-5\.trans\.txt:1: '84-5-0000'; expected an id and its transcript"):
        prepare(librispeech)


# speech_commands


@pytest.fixture
def commands(corpus):
    for speaker in range(20):
        for word in ("yes", "no"):
            write_noise(corpus / word / f"{speaker:08x}_nohash_0.wav")
    write_noise(corpus / "_unknown_" / "backward_0000000a_nohash_1.wav")
    write_noise(corpus / "_background_noise_" / "tap.wav")
    write_noise(corpus / "yes" / "recording.wav")


def test_speech_commands_are_split_by_speaker(prepare, tmp_path, commands):
    splits = prepare(speech_commands)
    speakers = [{speaker for _, speaker in utterances.values()} for utterances in splits.values()]
    assert sum(map(len, speakers)) == len(set.union(*speakers)) == 20
    everything = {id_: text for utterances in splits.values() for id_, (text, _) in utterances.items()}
    assert len(everything) == 41
    assert everything["backward/backward_0000000a_nohash_1"] == "backward"
    assert "tells no word or speaker" in (tmp_path / "output" / "dropped.jsonl").read_text()


def test_speech_commands_have_official_lists(prepare, corpus, commands):
    write_lines(corpus / "validation_list.txt", "yes/00000001_nohash_0.wav", "no/00000001_nohash_0.wav")
    write_lines(corpus / "testing_list.txt", "yes/00000002_nohash_0.wav", "no/00000002_nohash_0.wav")
    splits = prepare(speech_commands)
    assert splits["dev"].keys() == {"yes/00000001_nohash_0", "no/00000001_nohash_0"}
    assert splits["test"]["no/00000002_nohash_0"] == ("no", "00000002")
    assert len(splits["train"]) == 37


def test_a_folder_without_commands(prepare, corpus):
    write_noise(corpus / "noise" / "tap.wav")
    with pytest.raises(CorpusError, match="no WORD/SPEAKER_nohash_K recordings; expected Speech Commands"):
        prepare(speech_commands)


# common_voice


@pytest.fixture
def voices(corpus):
    header = "client_id\tpath\tsentence\tup_votes"
    rows = [f'{speaker}\tclip_{index}.mp3\t"Say" {index}.\t2' for index, speaker in enumerate("aabcd")]
    for index in range(5):
        write_noise(corpus / "en" / "clips" / f"clip_{index}.mp3")
    for name, chosen in (("train", rows[1:2]), ("dev", rows[2:3]), ("test", rows[3:4]), ("validated", rows)):
        write_lines(corpus / "en" / f"{name}.tsv", header, *chosen)
    return corpus / "en"


def test_common_voice(prepare, voices):
    splits = prepare(common_voice)
    assert splits == {
        "train": {"clip_1": ("say 1", "a")},
        "dev": {"clip_2": ("say 2", "b")},
        "test": {"clip_3": ("say 3", "c")},
    }


def test_common_voice_trains_on_all_that_is_validated(prepare, tmp_path, voices):
    write_noise(voices / "clips" / "clip_5.mp3")
    with (voices / "validated.tsv").open("a") as file:
        file.write("b\tclip_5\tSay 5.\t2\n")
    assert prepare(common_voice, "--validated")["train"].keys() == {"clip_0", "clip_1", "clip_4"}
    dropped = [json.loads(line) for line in (tmp_path / "output" / "dropped.jsonl").open()]
    assert [(each["id"], each["reason"]) for each in dropped] == [("clip_5", "validated, by a speaker of dev or test")]


def test_common_voice_faults_are_named(prepare, voices):
    write_lines(voices / "dev.tsv", "client_id\tpath\tsentence", "b\tclip_2.mp3")
    with pytest.raises(CorpusError, match=r"dev\.tsv:2: too few columns; expected client_id, path, sentence"):
        prepare(common_voice)
    write_lines(voices / "dev.tsv", "client_id\tpath")
    with pytest.raises(CorpusError, match=r"dev\.tsv: no column sentence; found client_id, path; expected those of"):
        prepare(common_voice)


# lhotse_cuts


@pytest.fixture
def cuts(corpus, tmp_path):
    """Manifests written as cuts into the corpus folder."""
    pytest.importorskip("lhotse")
    manifests = tmp_path / "manifests"
    for split, num_channels in (("train", 1), ("test", 2)):
        audio = str(write_noise(tmp_path / f"{split}.wav", seconds=3.0, num_channels=num_channels))
        utterances = [
            Utterance(f"{split}-0", audio, 1.5, "turn it on", split, 0.5, {"noisy": True}),
            Utterance(f"{split}-1", audio, 3.0, "off", split),
        ]
        write_manifest(manifests / f"{split}.jsonl", utterances)
    assert lhotse_cuts.main(["--export", str(manifests), str(corpus)]) == 0
    return manifests


def change_cuts(corpus: Path, change) -> None:
    """Change the first cut of train."""
    path = corpus / "train_cuts.jsonl.gz"
    first, *rest = gzip.decompress(path.read_bytes()).decode().splitlines()
    cut = json.loads(first)
    change(cut)
    path.write_bytes(gzip.compress("\n".join([json.dumps(cut), *rest]).encode()))


def test_what_is_exported_is_imported(prepare, tmp_path, corpus, cuts):
    prepare(lhotse_cuts)
    for split in ("train", "test"):
        exported, imported = (Manifest.read(path / f"{split}.jsonl") for path in (cuts, tmp_path / "output"))
        assert list(imported) == list(exported)


def test_lhotse_itself_loads_the_exported_audio(corpus, cuts):
    import lhotse

    from asr.audio.reading import read_audio

    cut = next(iter(lhotse.load_manifest_lazy(corpus / "test_cuts.jsonl.gz")))
    samples = read_audio(cut.recording.sources[0].source, sample_rate=16_000, offset=0.5, duration=1.5)
    np.testing.assert_allclose(cut.load_audio().mean(axis=0), samples, atol=1e-6)
    assert cut.supervisions[0].text == "turn it on"


def test_a_single_file_of_cuts_is_split(prepare, corpus, cuts):
    (corpus / "test_cuts.jsonl.gz").unlink()
    (corpus / "train_cuts.jsonl.gz").rename(corpus / "all.jsonl.gz")
    splits = prepare(lhotse_cuts, "--split-by", "id", "--dev-share", "0")
    assert {name: len(utterances) for name, utterances in splits.items()} == {"train": 1, "test": 1}


@pytest.mark.parametrize("kind", ["command", "url", "memory"])
def test_sources_that_are_no_files_are_refused(prepare, corpus, cuts, kind):
    marker = corpus / "was_run"
    change_cuts(corpus, lambda cut: cut["recording"]["sources"][0].update(type=kind, source=f"touch {marker}"))
    with pytest.raises(CorpusError, match=f"train-0: a source of type '{kind}'; expected 'file'; nothing is run"):
        prepare(lhotse_cuts)
    assert not marker.exists()


def test_cuts_that_are_no_plain_stretches_are_dropped(prepare, tmp_path, corpus, cuts):
    speed = {"name": "Speed", "kwargs": {"factor": 1.1}}
    changes = {
        "altered on the fly (transforms)": lambda cut: cut["recording"].update(transforms=[speed]),
        "some channels of several": lambda cut: cut["recording"].update(channel_ids=[0, 1]),
        "a cut without recording": lambda cut: cut.pop("recording"),
    }
    whole = (corpus / "train_cuts.jsonl.gz").read_bytes()
    for reason, change in changes.items():
        (corpus / "train_cuts.jsonl.gz").write_bytes(whole)
        change_cuts(corpus, change)
        assert prepare(lhotse_cuts)["train"].keys() == {"train-1"}
        assert reason in (tmp_path / "output" / "dropped.jsonl").read_text()


def test_mixed_cuts_are_dropped(prepare, tmp_path, corpus, cuts):
    import lhotse

    path = corpus / "train_cuts.jsonl.gz"
    first, second = lhotse.load_manifest_lazy(path)
    lhotse.CutSet.from_cuts([first.mix(second), second]).to_file(path)
    assert prepare(lhotse_cuts)["train"].keys() == {"train-1"}
    assert "a mix of cuts" in (tmp_path / "output" / "dropped.jsonl").read_text()


def test_recordings_that_cannot_be_exported_are_named(tmp_path, cuts, capsys):
    (tmp_path / "test.wav").write_bytes(b"RIFF not quite")
    assert lhotse_cuts.main(["--export", str(cuts), str(tmp_path / "again")]) == 4
    assert "test.wav: not readable as audio" in capsys.readouterr().err
    assert len(gzip.decompress((tmp_path / "again" / "train_cuts.jsonl.gz").read_bytes()).splitlines()) == 2


def test_lhotse_faults_are_named(prepare, corpus, cuts, tmp_path, monkeypatch):
    write_lines(corpus / "more.jsonl", "{}")
    with pytest.raises(CorpusError, match=r"more\.jsonl, .*; expected one file of cuts, or train, dev or test in each"):
        prepare(lhotse_cuts)
    (corpus / "more.jsonl").rename(corpus / "train_more.jsonl")
    with pytest.raises(CorpusError, match=r"train_more\.jsonl: not readable as lhotse's"):
        prepare(lhotse_cuts)
    recording = {"id": "a", "sources": [], "sampling_rate": 16_000, "num_samples": 1, "duration": 1 / 16_000}
    write_lines(corpus / "train_more.jsonl", json.dumps(recording))
    with pytest.raises(CorpusError, match=r"train_more\.jsonl: Recording; expected cuts"):
        prepare(lhotse_cuts)
    with pytest.raises(CorpusError, match=r"corpus: no train\.jsonl, dev\.jsonl, test\.jsonl; expected manifests"):
        prepare(lhotse_cuts, "--export")
    monkeypatch.setitem(sys.modules, "lhotse", None)
    with pytest.raises(CorpusError, match=r"lhotse: not installed; install it: pip install 'earshot\[lhotse\]'"):
        prepare(lhotse_cuts)


# downloads


@pytest.mark.parametrize(
    ("program", "arguments", "num_archives"),
    [(fsdd, (), 1), (speechocean762, (), 1), (speech_commands, (), 1), (librispeech, ("--parts", "dev-clean"), 1)],
)
def test_download_fetches_before_reading(prepare, corpus, monkeypatch, program, arguments, num_archives):
    fetched = {}
    module = importlib.import_module("data_prep.download")
    monkeypatch.setattr(module, "fetch", lambda archives, folder: fetched.update({folder: archives}))
    with pytest.raises(ValueError, match=r"no such folder|not a folder"):
        prepare(program, "--download", *arguments)
    assert list(fetched) == [corpus]
    assert len(fetched[corpus]) == num_archives
    assert all(url.startswith("https://") and url.endswith(".tar.gz") for url in fetched[corpus])
