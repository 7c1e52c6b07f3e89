"""Every command of README.md and docs/*.md runs: as written, made cheap, or left out for a reason, as COMMANDS says."""

import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from asr.audio.reading import read_info
from asr.data.manifest import Utterance
from asr.data.manifest_writing import write_manifest
from tests.support.small_run import write_recordings
from tests.support.tones import write_split

ROOT = Path(__file__).resolve().parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("**/*.md"))]
TRAIN = "train.max_steps=2 data.num_workers=0 data.batch_seconds=20 tracking.trackers=[console] train.max_epochs=1"
DIGITS = "data.train.0.manifest=TEST data.dev.manifest=DEV"


@dataclass(frozen=True)
class Run:
    """How a command runs here: with this in the place of some of its words, and more arguments at its end."""

    more: str = ""
    instead: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class LeftOut:
    reason: str


AS_WRITTEN = Run()
TUNES = "needs the extra tune and trains many times; tests/tuning/test_tune.py runs studies of tones"
NO_MICROPHONE = LeftOut("listens to a microphone; tests/live/ has stand-ins for those who record it")
HAS_CURVES = LeftOut(
    "needs runs that have logged figures; tests/dashboards/test_dashboard.py draws and serves such runs"
)
# By the command as it is written, on one line and without its comment. They run from the top of a page to its end in
# one folder, which has what `workspace` writes; a command that is not here fails the test.
COMMANDS: dict[str, Run | LeftOut] = {
    "earshot dashboard runs/mine runs/other --output dashboard.html": HAS_CURVES,
    "earshot dashboard runs/mine --watch --port 8017": HAS_CURVES,
    "earshot dashboard runs/good --store-curve curve.json": HAS_CURVES,
    "earshot dashboard runs/mine --reference curve.json": HAS_CURVES,
    "make install TORCH=cpu": Run(instead={"make": f"make -n -C {ROOT}"}),
    "make install": Run(instead={"make": f"make -n -C {ROOT}"}),
    "make demo": Run(instead={"make": f"make -n -C {ROOT}"}),
    "make test": Run(instead={"make": f"make -n -C {ROOT}"}),
    ". .venv/bin/activate": LeftOut("the test is in the environment that is tested"),
    "earshot commands try conf/commands/home.yaml recipes/commands_home/examples/*.opus": AS_WRITTEN,
    "pip install 'earshot[serve]'": LeftOut("the test is in the environment that is tested"),
    "earshot serve recipes/barista_bilstm_ctc/model_finetuned --commands conf/commands/barista.yaml "
    "--wyoming-port 10300": LeftOut("goes on until it is interrupted; tests/serving runs servers"),
    "curl -F file=@recipes/barista_bilstm_ctc/examples/latte.opus "
    "http://127.0.0.1:8000/v1/audio/transcriptions": LeftOut(
        "needs the server of the line before; tests/serving/test_openai_api.py asks one"
    ),
    "pip install 'earshot[serve,home]'": LeftOut("the test is in the environment that is tested"),
    "earshot commands import home-assistant --url http://homeassistant.local:8123 --token-file token "
    "-o home.yaml --watch": LeftOut("needs a home; tests/homes/ has a stand-in for one"),
    "earshot serve models/english --commands home.yaml --wyoming-host 0.0.0.0 --wyoming-port 10300": LeftOut(
        "goes on until it is interrupted; tests/serving runs servers"
    ),
    "python -c 'import secrets; print(secrets.token_urlsafe())' > token": AS_WRITTEN,
    "earshot serve RUN --host 0.0.0.0 --token-file token --tls-cert cert.pem --tls-key key.pem": LeftOut(
        "listens to the network; tests/serving/test_safety.py runs it with a certificate on loopback"
    ),
    "python -m data_prep.folder my_recordings data/mine": Run("--split-by id"),
    "python -m asr.train conf/bilstm_ctc.yaml run_dir=runs/mine data.train.0.manifest=data/mine/train.jsonl "
    "data.dev.manifest=data/mine/dev.jsonl": Run(TRAIN),
    "python -m asr.evaluate runs/mine data/mine/test.jsonl": AS_WRITTEN,
    "python -m asr.transcribe runs/mine new_recordings --output transcripts.jsonl": AS_WRITTEN,
    "python -m data_prep.synthesize conf/commands/home.yaml data/home --other-speech conf/commands/everyday.yaml": Run(
        "--num-train 300 --num-dev 6 --num-test 0 --num-other 200 --num-other-held-out 6 --min-count 0 --num-workers 1"
    ),
    "python -m asr.commands check conf/commands/home.yaml": AS_WRITTEN,
    "earshot commands try conf/commands/home.yaml order.wav": Run(instead={"order.wav": "recording.wav"}),
    "earshot commands calibrate models/english conf/commands/home.yaml --sizes 10,1000,all "
    "--false-accepts-per-hour 0.5 --negatives data/talk.jsonl data/room.jsonl --positives data/home/dev.jsonl": LeftOut(
        "takes minutes, and would change the shipped model; tests/fitting/ does it with a small one"
    ),
    "earshot commands try conf/commands/home.yaml order.wav --model runs/commands_home --json": LeftOut(
        "stands before the training of runs/commands_home; tests/grammar tries recordings"
    ),
    "python -m asr.train conf/commands_home.yaml": Run(TRAIN),
    "python -m asr.commands calibrate runs/commands_home conf/commands/home.yaml --false-accepts-per-hour 0.5 "
    "--negatives data/home/other_speech/dev.jsonl --positives data/home/dev.jsonl": Run(
        # Of a model that has learnt something; the one of two steps gets no recording right.
        instead={
            "runs/commands_home": "runs/coffee",
            "conf/commands/home.yaml": "conf/commands/barista.yaml",
            "data/home/other_speech/dev.jsonl": "OTHERS",
            "data/home/dev.jsonl": "ORDERS",
        }
    ),
    "python -m asr.transcribe runs/commands_home recordings --commands conf/commands/home.yaml "
    "--output commands.jsonl": AS_WRITTEN,
    "python -m asr.train conf/lm_ngram.yaml tokenizer.run=RUN": Run(
        "data.train.0.manifest=TEST data.dev.manifest=DEV order=3"
    ),
    "python -m asr.evaluate RUN DEV --decoding joint_beam --language-model runs/lm_ngram --tune-fusion": AS_WRITTEN,
    "python -m asr.evaluate RUN TEST --decoding RUN/decodings/joint_beam-lm_ngram.yaml": AS_WRITTEN,
    "python -m asr.explain RUN recording.wav": AS_WRITTEN,
    "earshot improve RUN": AS_WRITTEN,
    "python -m asr.transcribe RUN order.wav": Run(instead={"order.wav": "recording.wav"}),
    "python -m asr.transcribe RUN recordings/ --output-dir out/ --format txt,srt": AS_WRITTEN,
    "python -m asr.transcribe RUN recordings/ --output all.jsonl": AS_WRITTEN,
    "python -m asr.transcribe RUN 'calls/**/*.wav' --channel each --output-dir out/": Run(
        instead={"out/": "calls_out"}
    ),
    "python -m asr.transcribe RUN calls/ --channel each --merge --output-dir out/ --format txt,vtt": Run(
        instead={"out/": "merged"}
    ),
    "find /data -name '*.flac' -print0 | python -m asr.transcribe RUN - --output-dir out/": Run(
        instead={"/data": "data_of_others", "out/": "found"}
    ),
    "python -m asr.transcribe RUN manifest.jsonl --output-dir out/ --decoding ctc_beam --language-model runs/lm": Run(
        instead={"out/": "beam", "runs/lm": "runs/lm_ngram"}
    ),
    "python -m asr.transcribe RUN inbox/ --output-dir out/ --watch": LeftOut(
        "goes on until it is interrupted; tests/transcription/test_job_endurance.py watches a folder"
    ),
    "python -m asr.transcribe --config job.yaml": AS_WRITTEN,
    "earshot listen --model RUN --commands conf/commands/home.yaml": NO_MICROPHONE,
    "earshot listen --model RUN --commands conf/commands/home.yaml --json": NO_MICROPHONE,
    "earshot listen --model RUN --commands conf/commands/home.yaml --wake 'hey house|hello house'": NO_MICROPHONE,
    "earshot listen --model RUN --push-to-talk": NO_MICROPHONE,
    "earshot listen --model RUN order.wav": Run(instead={"order.wav": "recording.wav"}),
    "earshot listen --model RUN order.wav --as-fast-as-possible": Run(instead={"order.wav": "recording.wav"}),
    "ffmpeg -i URL -f s16le -ar 16000 -ac 1 - | earshot listen --model RUN -": LeftOut(
        "fetches audio; tests/live/test_listen.py gives raw samples on stdin"
    ),
    "pip install 'earshot[tune]'": LeftOut("the test is in the environment that is tested"),
    "earshot tune conf/bilstm_ctc.yaml --trials 50": LeftOut(TUNES),
    "earshot tune conf/fsdd_bilstm_ctc.yaml --space recipes/tuning/fsdd.yaml train.max_epochs=15": LeftOut(TUNES),
    "earshot tune conf/fsdd_bilstm_ctc.yaml --lr-range": LeftOut(TUNES),
    "earshot tune conf/bilstm_ctc.yaml --trials 50 --retrain-best 3 --seeds 3": LeftOut(TUNES),
    "earshot tune conf/bilstm_ctc.yaml --wandb-sweep sweep.yaml tracking.mode=online": LeftOut(TUNES),
    "earshot tune conf/bilstm_ctc.yaml --storage postgresql://tuner@host/studies --study bilstm": LeftOut(
        "needs a database server; tests/tuning/test_tune.py shares an SQLite file"
    ),
    "earshot train conf/bilstm_ctc.yaml --explain-layers encoder.cell.kind=gru": AS_WRITTEN,
    "ATEN_CPU_CAPABILITY=avx2 ONEDNN_MAX_CPU_ISA=AVX2 python -m asr.train conf/bilstm_ctc.yaml": Run(
        f"{TRAIN} {DIGITS} run_dir=runs/avx2"
    ),
    "ATEN_CPU_CAPABILITY=default ONEDNN_MAX_CPU_ISA=SSE41 python -m asr.train conf/bilstm_ctc.yaml": Run(
        f"{TRAIN} {DIGITS} run_dir=runs/sse"
    ),
}


def commands_of(page: Path) -> list[str]:
    """The commands of a page's sh blocks, each on one line and without its comment."""
    blocks = re.findall(r"^ *```(?:sh|bash|shell|console)\n(.*?)^ *```", page.read_text(), re.MULTILINE | re.DOTALL)
    lines = re.sub(r"\\\n", " ", "".join(blocks)).splitlines()
    bare = (re.sub(r"(^|\s)#.*", "", line) for line in lines)
    return [" ".join(line.split()) for line in bare if line.strip()]


def script_of(command: str) -> str | None:
    """What runs in the place of a command; None for one that is left out."""
    how = COMMANDS[command]
    if isinstance(how, LeftOut):
        return None
    for written, other in how.instead.items():
        assert written in command, f"{command}: without {written!r}, which its entry in COMMANDS replaces"
        command = command.replace(written, other)
    return f"{command} {how.more}".strip()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_command_is_known(page: Path) -> None:
    unknown = [command for command in commands_of(page) if command not in COMMANDS]
    assert not unknown, f"{page.name}: say in COMMANDS how each of these is tested"


def test_no_entry_is_of_a_command_that_is_gone() -> None:
    written = {command for page in PAGES for command in commands_of(page)}
    assert not [command for command in COMMANDS if command not in written]


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a reader: recordings, two manifests, a run with both heads, and a clone's conf and recipes."""
    folder = tmp_path_factory.mktemp("reader")
    for name in ("conf", "recipes"):
        (folder / name).symlink_to(ROOT / name)
    for name in ("new_recordings", "recordings", "calls/monday", "data_of_others"):
        write_recordings(folder / name, [1.0, 1.5])
    for path in (folder / "data_of_others").iterdir():
        subprocess.run(["python", "-c", FLAC, str(path)], check=True, env=environment(folder))
    (folder / "recordings/00.wav").rename(folder / "recording.wav")
    corpus = folder / "corpus"
    write_split(corpus, "mine", 30, seed=1)
    (corpus / "mine").rename(folder / "my_recordings")
    for line in (corpus / "mine.jsonl").read_text().splitlines():
        path, text = re.search(r'"audio_filepath": "([^"]+)".*"text": "([^"]+)"', line).groups()  # type: ignore[union-attr]
        (folder / "my_recordings" / Path(path).name).with_suffix(".txt").write_text(text)
    for name, seed in (("DEV", 2), ("TEST", 3)):
        write_split(folder, name.lower(), 6, seed=seed).rename(folder / name)
    shutil.copytree(ROOT / COFFEE / "model_finetuned", folder / "runs/coffee")
    paths = [ROOT / COFFEE / f"examples/{name}.opus" for name in SPOKEN]
    lengths = [read_info(path).duration for path in paths]
    spoken = [Utterance(*each) for each in zip(SPOKEN, map(str, paths), lengths, SPOKEN.values(), strict=True)]
    write_manifest(folder / "ORDERS", spoken[:-1])
    write_manifest(folder / "OTHERS", spoken[-1:])
    (folder / "manifest.jsonl").write_bytes((folder / "DEV").read_bytes())
    (folder / "job.yaml").write_text("{run: RUN, paths: [recordings], output: job.jsonl}\n")
    make_run = f"python -m asr.train conf/bilstm_ctc_attention.yaml run_dir=RUN {TRAIN} data.train.0.manifest=TEST"
    run(f"{make_run} data.dev.manifest=DEV encoder.cell.hidden_size=16 encoder.num_layers=1", folder)
    return folder


COFFEE = "recipes/barista_bilstm_ctc"
SPOKEN = {  # as its make_examples.py says; the last is no order
    "latte": "can i get a large latte with a little bit of sugar",
    "americano": "give me a twelve ounce americano",
    "weather": "what will the weather be like tomorrow",
}
FLAC = "import sys, soundfile; a, r = soundfile.read(sys.argv[1]); soundfile.write(sys.argv[1][:-3] + 'flac', a, r)"


def environment(folder: Path) -> dict[str, str]:
    """Of a shell whose `python` and `earshot` are those of the tests and of this tree."""
    programs = folder / "programs"
    programs.mkdir(exist_ok=True)
    for name, what in (("python", ""), ("earshot", " -m asr")):
        (programs / name).write_text(f'#!/bin/sh\nexec "{sys.executable}"{what} "$@"\n')
        (programs / name).chmod(0o755)
    path = f"{programs}{os.pathsep}{os.environ['PATH']}"
    return {**os.environ, "PATH": path, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "WANDB_MODE": "offline"}


def run(script: str, folder: Path) -> str:
    """Returns what the script prints."""
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", script],
        cwd=folder,
        env=environment(folder),
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
    )
    assert done.returncode == 0, f"{script}\nexit code {done.returncode}\n{done.stdout[-2000:]}\n{done.stderr[-4000:]}"
    return done.stdout


@pytest.mark.slow
@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_the_commands_of_a_page_run_one_after_the_other(page: Path, workspace: Path) -> None:
    pytest.importorskip("espeakng_loader")
    for script in filter(None, map(script_of, commands_of(page))):
        run(script, workspace)


@pytest.mark.slow
def test_the_first_result_is_what_the_readme_shows(workspace: Path) -> None:
    """Confidences are left out: their last digit may be another on another processor."""
    page = (ROOT / "README.md").read_text()
    command = next(command for command in commands_of(ROOT / "README.md") if command.startswith("earshot commands try"))
    shown = re.findall(r"^```text\n(.*?)^```", page, re.MULTILINE | re.DOTALL)[0].splitlines()
    printed = [line for line in run(command, workspace).splitlines() if line.startswith("recipes/")]
    without = [[re.sub(r"confidence \d\.\d+", "", line) for line in lines] for lines in (shown, printed)]
    assert without[0] == without[1]
