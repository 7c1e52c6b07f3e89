"""Whole files of every kind that is read from strangers, and how each is read: what damage is done to, by fuzzing."""

import gzip
import hashlib
import json
import shutil
import tempfile
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from asr.comparison.members import ComparisonConfig
from asr.config.language_model import load_experiment
from asr.config.recognizer import load_section
from asr.data.features import FeatureConfig
from asr.data.manifest import Manifest
from asr.data.shards import FeatureShards, ShardEntry, ShardIndex, stored_settings
from asr.data.statistics import FeatureStatistics
from asr.files.digest import file_digest
from asr.grammar.importers import import_jsgf, import_phrases, import_rhino, read_lists
from asr.grammar.templates import load_grammar
from asr.language_models.table import read_arpa, read_words
from asr.recognition.confidence import WordCalibration, load_calibration, save_calibration
from asr.runs.checkpoint import load_newest_checkpoint, save_checkpoint
from asr.runs.language_model import read_decoding
from asr.runs.recognizer import load_run
from asr.text import SentencePieceTokenizerConfig, load_tokenizer
from asr.transcript import Transcript, Word
from asr.transcription.config import load_job
from asr.transcription.journal import Journal
from asr.transcription.record import fault_of_record
from asr.understanding.autoencoder import Autoencoder, load_autoencoder, save_autoencoder
from asr.understanding.label_priors import LabelPriors
from asr.understanding.rejection import Rejection, save_rejection
from data_prep.kaldi import read_kaldi_folder
from data_prep.nemo import read_nemo_manifest
from data_prep.tables import read_rows
from tests.support.rejections import load_rejection
from tests.support.small_run import TEXTS, write_small_run

Files = dict[str, bytes]
ROOT = Path(__file__).parents[2]

JSGF = b"""#JSGF V1.0 UTF-8 en;
grammar lights;
public <order> = [please] (/1/ turn | /2/ switch) <state> the <room> (light | lamp) {tag};
<state> = on | off; <room> = kitchen | (living | bed) room | <NULL>; // rooms
"""
RHINO = b"""context:
  expressions:
    order: ["[make, get] (me) a $size:size @coffee", "stop {now}"]
  slots: {size: [small, large]}
  macros: {coffee: [espresso, latte]}
"""
PHRASES = b"turn the light on\nlights: turn the light off\nstop\n"
LISTS = b"area: [kitchen, bedroom]\nname:\n  - {in: desk lamp, context: {domain: light}}\n  - fan\n"
MANIFEST = b"""{"id": "a", "audio_filepath": "a.wav", "duration": 1.5, "text": "turn it on", "speaker": "s"}
{"audio_filepath": "b/c.wav", "offset": 2.5, "duration": 3, "text": "", "intent": "x", "slots": {"n": 1}}
"""
ARPA = b"""\\data\\
ngram 1=5
ngram 2=3

\\1-grams:
-99\t<s>\t-0.3
-1.2\t</s>
-0.7\tturn\t-0.2
-0.9\tstop\t0
-2\t<unk>

\\2-grams:
-0.1\t<s> turn
-0.4\tturn stop
-0.2\tstop </s>

\\end\\
"""
JOB = b"""run: runs/x
paths: [recordings, 'more/*.wav']
output_dir: out
format: [jsonl, srt]
channel: each
segmentation: {longest: 30.0}
limits: {memory_mb: 512}
decoding: {kind: ctc_beam, beam: 4}
"""
DECODING = b"kind: ctc_beam\nbeam: 16\nfusion: {language_model: runs/lm, weight: 0.5, token_bonus: 1.0}\n"
TABLE = b'path,text,speaker\na.wav,"turn it ""on""",s\nb.wav,stop,t\n'
MELS = FeatureConfig(num_mels=20)


@dataclass(frozen=True)
class Reader:
    """A way to read strangers' files."""

    sources: Sequence[Files]  # whole ones
    read: Callable[[Path], object]  # of the folder that they are in
    repair: Callable[[Files], None] | None = None  # checksums, which would hide what is behind them


def _yaml(pattern: str, *, excluded: str = "") -> list[Files]:
    return [
        {"x.yaml": path.read_bytes()}
        for path in sorted(ROOT.glob(pattern))
        if not excluded or excluded not in path.name
    ]


def _whole(folder: Path) -> Files:
    paths = sorted(path for path in folder.rglob("*") if path.is_file() and ".lock" not in path.name)
    return {str(path.relative_to(folder)): path.read_bytes() for path in paths}


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _replace(files: Files, name: str, key: str, value: str) -> None:
    """A key of a JSON file, where both are still there."""
    try:
        values = json.loads(files[name])
        values[key] = value
        files[name] = json.dumps(values).encode()
    except (ValueError, KeyError, TypeError, IndexError, RecursionError):
        return


def _repair_run(files: Files) -> None:
    _replace(files, "run.json", "model", _digest(files["model.safetensors"]))
    try:
        kept = json.loads(files["rejection.json"])
        kept["g"]["model"] = _digest(files["model.safetensors"])
        files["rejection.json"] = json.dumps(kept).encode()
    except (ValueError, KeyError, TypeError, RecursionError):
        pass
    try:
        with tempfile.TemporaryDirectory() as place:
            Path(place, "tokenizer.json").write_bytes(files["tokenizer/tokenizer.json"])
            _replace(files, "run.json", "tokenizer", load_tokenizer(Path(place)).digest)
    except (ValueError, OSError):
        return


def _repair_pieces(files: Files) -> None:
    _replace(files, "tokenizer.json", "sha256", _digest(files["sentencepiece.model"]))


def _repair_checkpoint(files: Files) -> None:
    _replace(files, "step-00000005/state.json", "sha256", _digest(files["step-00000005/state.safetensors"]))


def _repair_journal(files: Files) -> None:
    bodies = [line.partition(b" ")[2] or line for line in files["journal.jsonl"].split(b"\n") if line]
    files["journal.jsonl"] = b"".join(b"%08x %s\n" % (zlib.crc32(body), body) for body in bodies)


def _repair_shards(files: Files) -> None:
    try:
        index = json.loads(files["index.json"])
        index["shards"][0]["num_bytes"] = len(files["shard-00000.safetensors"])
        files["index.json"] = json.dumps(index).encode()
    except (ValueError, KeyError, TypeError, IndexError, RecursionError):
        return


def _read_journal(folder: Path) -> None:
    journal = Journal(folder, fault_of=fault_of_record)
    try:
        journal.load(["a.wav", "b.wav"])
        for record in (journal[0], journal[1], *journal.others()):
            _ = [Transcript.from_dict(each) for each in (record or {}).get("transcripts", [])]
    finally:
        journal.close()


def _read_autoencoder(folder: Path) -> object:
    return load_autoencoder(folder, digest=_digest((folder / "autoencoder.safetensors").read_bytes()))


def _read_run(folder: Path) -> None:
    parts = load_run(folder)
    load_rejection(folder, grammar="g", model=parts.model_digest)
    parts.folder.search_digest()


def _read_shards(folder: Path) -> None:
    shards = FeatureShards(folder, MELS)
    for id in shards.ids:
        shards.features(id)


def _read_manifest(path: Path) -> None:
    _ = [*Manifest.read(path), *Manifest.read(path).texts()]


def _write_calibrations(folder: Path) -> None:
    save_calibration(folder, WordCalibration(0.7, -1.0, 90, 0.2, 0.1), decoding="d", model="m")
    save_rejection(folder, Rejection(threshold=1.5, is_calibrated=True), grammar="g", model="m")


def _write_shards(folder: Path) -> None:
    from safetensors.torch import save_file

    path = folder / "shard-00000.safetensors"
    save_file({"a": torch.zeros(5, 20), "b": torch.ones(3, 20)}, path)
    entry = ShardEntry(path.name, file_digest(path), path.stat().st_size, 2)
    ShardIndex(stored_settings(MELS), "m.jsonl", "0" * 64, 2, 2, (entry,)).write(folder)


def _write_checkpoint(folder: Path) -> None:
    progress = {"step": 5, "epoch": 1, "position": 0, "scores": [{"epoch": 0, "wer": 0.5, "loss": 1.0}]}
    tensors = {"model/a": torch.ones(3), "optimizer/0/exp_avg": torch.ones(3)}
    save_checkpoint(folder, step=5, tensors=tensors, state={"progress": progress, "scaler": {}})


def _write_run(folder: Path) -> None:
    run = write_small_run(folder)
    save_rejection(folder, Rejection(), grammar="g", model=run.read_record()["model"])


def _written(write: Callable[[Path], object]) -> list[Files]:
    folder = Path(tempfile.mkdtemp())
    try:
        write(folder)
        return [_whole(folder)]
    finally:
        shutil.rmtree(folder)


TRANSCRIBED = {
    "size": 9,
    "sha256": "0",
    "seconds": 0.1,
    "files": ["a.srt"],
    "transcripts": [Transcript("x", 0.5, (Word("x", 0.0, 0.5, 0.5),), 1.0).to_dict()],
}


def all_readers() -> dict[str, Reader]:
    """Every reader by name, with its sources."""
    torch.manual_seed(0)
    records = b"".join(
        b"00000000 " + json.dumps({"name": name, "settings": "s", **result}).encode() + b"\n"
        for name, result in (("a.wav", TRANSCRIBED), ("c.wav", {"size": 1, "error": "no", "error_kind": None}))
    )
    journal: Files = {"journal.jsonl": records}
    _repair_journal(journal)
    priors = LabelPriors(torch.zeros(9).log_softmax(0).numpy(), 0.3)
    statistics = FeatureStatistics(torch.zeros(20), torch.ones(20))
    pieces = SentencePieceTokenizerConfig(vocabulary_size=24).train(TEXTS)
    char = {"kind": "char", "pieces": ["<blank>", "<pad>", "<unknown>", "<bos>", "<eos>", " ", "a", "b"]}
    phoneme = {**char, "kind": "phoneme", "language": "en-us", "lexicon": {"ab": "a b"}}
    grammars = _yaml("conf/commands/*.yaml", excluded="everyday")
    kaldi = {
        "wav.scp": b"a wavs/a.wav\nb b.wav\n",
        "text": b"u turn it on\nv stop\n",
        "utt2spk": b"u s\nv t\n",
        "segments": b"u a 0.5 2.5\nv b 0 -1\n",
    }
    return {
        "config": Reader(_yaml("conf/*.yaml", excluded="compare"), lambda at: load_experiment(at / "x.yaml")),
        "comparison": Reader(_yaml("conf/compare*.yaml"), lambda at: load_section(at / "x.yaml", ComparisonConfig)),
        "job": Reader([{"x.yaml": JOB}], lambda at: load_job(at / "x.yaml", {})),
        "decoding": Reader([{"x.yaml": DECODING}], lambda at: read_decoding(str(at / "x.yaml"))),
        "grammar": Reader(grammars, lambda at: load_grammar(at / "x.yaml")),
        "jsgf": Reader([{"x.jsgf": JSGF}], lambda at: import_jsgf(at / "x.jsgf")),
        "rhino": Reader([{"x.yaml": RHINO}], lambda at: import_rhino(at / "x.yaml")),
        "phrases": Reader([{"x.txt": PHRASES}], lambda at: import_phrases(at / "x.txt")),
        "lists": Reader([{"x.yaml": LISTS}], lambda at: read_lists(at / "x.yaml")),
        "manifest": Reader([{"x.jsonl": MANIFEST}], lambda at: _read_manifest(at / "x.jsonl")),
        "nemo": Reader([{"x.json": MANIFEST}], lambda at: read_nemo_manifest(at / "x.json")),
        "kaldi": Reader([kaldi], lambda at: read_kaldi_folder(at, audio_root=at)),
        "table": Reader(
            [{"x.csv": TABLE}],
            lambda at: read_rows(at / "x.csv", ["path", "text"], remedy="name them", too_few="too few cells"),
        ),
        "arpa": Reader([{"x.arpa": ARPA}], lambda at: (read_arpa(at / "x.arpa"), read_words(at / "x.arpa"))),
        "arpa.gz": Reader([{"x.arpa.gz": gzip.compress(ARPA, mtime=0)}], lambda at: read_arpa(at / "x.arpa.gz")),
        "tokenizer": Reader(
            [{"tokenizer.json": json.dumps(each).encode()} for each in (char, phoneme)], load_tokenizer
        ),
        "sentencepiece": Reader(_written(pieces.save), load_tokenizer, _repair_pieces),
        "run": Reader(_written(_write_run), _read_run, _repair_run),
        "calibrations": Reader(
            _written(_write_calibrations),
            lambda at: (load_calibration(at, decoding="d", model="m"), load_rejection(at, grammar="g", model="m")),
        ),
        "checkpoint": Reader(_written(_write_checkpoint), load_newest_checkpoint, _repair_checkpoint),
        "priors": Reader(
            _written(lambda at: priors.save(at / "p.safetensors", model="m")),
            lambda at: LabelPriors.load(at / "p.safetensors", model="m"),
        ),
        "statistics": Reader(
            _written(lambda at: statistics.save(at / "s.safetensors")),
            lambda at: FeatureStatistics.load(at / "s.safetensors"),
        ),
        "autoencoder": Reader(_written(lambda at: save_autoencoder(at, Autoencoder(20))), _read_autoencoder),
        "shards": Reader(_written(_write_shards), _read_shards, _repair_shards),
        "journal": Reader([journal], _read_journal, _repair_journal),
    }
