"""A new member of a family is one new file and one name: proven on a copy of the project, to which toys are added."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
TOYS = ROOT / "tests" / "support" / "toys"

# Of each toy: its file, the folder it goes to, what it is named before in the family's list, and the name.
MEMBERS = {
    "head": ("toy_head", "asr/model/heads", "CTCHeadConfig | ", "ToyHeadConfig | "),
    "decoding": ("toy_decoding", "asr/decoding", "CTCGreedyConfig | ", "ToyDecodingConfig | "),
    "tokenizer": ("toy_tokenizer", "asr/text", "CharTokenizerConfig | ", "ToyTokenizerConfig | "),
    "format": (
        "toy_format",
        "asr/transcription/formats",
        '"tsv": ',
        '"Toy": Format(".toy", toy_format.render),\n    ',
    ),
    "voice": ("toy", "data_prep/voices", '"flite", ', '"toy", '),
}
IMPORTS = {
    "head": "from asr.model.heads.toy_head import ToyHeadConfig\n",
    "decoding": "from asr.decoding.toy_decoding import ToyDecodingConfig\n",
    "tokenizer": "from asr.text.toy_tokenizer import ToyTokenizerConfig\n",
    "format": "from asr.transcription.formats import toy_format\n",
}

PROGRAM = """
import json, sys
from pathlib import Path

import asr
from asr.recognizer import Recognizer
from asr.text import load_tokenizer
from asr.train import main as train
from asr.transcribe import main as transcribe
from data_prep.voices import ENGINES, Delivery, load_engine

config, corpus, out = sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3])
words = ["heads=[{kind: toy}]", "decoding={kind: toy}", "tokenizer={kind: toy}", f"run_dir={out}/run"]
trained = train([config, *words, "train.max_steps=2", "train.average_best=1", "train.log_every_steps=1"])
recordings = sorted((corpus / "dev").glob("*.wav"))[:2]
recognizer = Recognizer.load(out / "run")
transcribed = transcribe([f"{out}/run", str(corpus / "dev"), "--output-dir", f"{out}/texts", "--format", "toy"])
samples, rate = load_engine("toy").speak("turn on", Delivery("hum", "en-us", 150, 50))
print(json.dumps({
    "asr": asr.__file__,
    "codes": [trained, transcribed],
    "heads": [head.kind for head in recognizer.model.heads],
    "decoding": type(recognizer.decoding).__name__,
    "tokenizer": load_tokenizer(out / "run" / "tokenizer").kind,
    "texts": [recognizer.transcribe(path).text for path in recordings],
    "engines": ENGINES,
    "seconds": len(samples) / rate,
}))
"""


def add_member(project: Path, family: str) -> list[str]:
    """Adds a toy to a copy of the project; the lines that this changes of the file that was there."""
    file, folder, before, name = MEMBERS[family]
    shutil.copy(TOYS / f"{file}.py", project / folder)
    path = project / folder / "__init__.py"
    text = path.read_text()
    assert before in text
    changed = text.replace(before, name + before, 1)
    first_import = changed.index("\nfrom ") + 1
    changed = changed[:first_import] + IMPORTS.get(family, "") + changed[first_import:]
    path.write_text(changed)
    return [line for line in changed.splitlines() if line not in text.splitlines()]


@pytest.fixture(scope="module")
def added(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, list[str]]]:
    """A copy of the project with all toys, and what each of them changed."""
    project = tmp_path_factory.mktemp("project")
    for package in ("asr", "data_prep"):
        shutil.copytree(ROOT / package, project / package, ignore=shutil.ignore_patterns("__pycache__"))
    return project, {family: add_member(project, family) for family in MEMBERS}


@pytest.mark.parametrize("family", MEMBERS)
def test_a_member_changes_no_more_than_the_list_of_its_family(added: tuple, family: str) -> None:
    assert len(added[1][family]) == 1 + (family in IMPORTS)


def test_the_toys_train_are_scored_saved_loaded_and_used(
    added: tuple, tone_config: Path, tone_corpus: Path, tmp_path: Path
) -> None:
    environment = {**os.environ, "PYTHONPATH": str(added[0])}
    command = [sys.executable, "-c", PROGRAM, str(tone_config), str(tone_corpus), str(tmp_path)]
    done = subprocess.run(command, env=environment, cwd=added[0], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout.splitlines()[-1])
    assert Path(said["asr"]).is_relative_to(added[0])
    assert said["codes"] == [0, 0]
    assert (said["heads"], said["decoding"], said["tokenizer"]) == (["toy"], "ToyDecoding", "toy")
    assert all(isinstance(text, str) for text in said["texts"])
    assert ("toy" in said["engines"], said["seconds"]) == (True, 1.0)
    lines = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    assert len([line for line in lines if "train/loss" in line]) == 2
    assert [line["dev/toy_utterances"] for line in lines if "dev/wer" in line] == [12.0]
    written = sorted((tmp_path / "texts").rglob("*.toy"))
    assert len(written) == 12
    assert written[0].read_text().endswith(" words\n")
