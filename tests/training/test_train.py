"""Training as a user runs it: to the end, killed and resumed, stopped by a signal, fed with bad data."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from asr.config.recognizer import load_config
from asr.data.statistics import FeatureStatistics
from asr.model.heads.ctc import CTCHead
from asr.model.scan import processor
from asr.process.distributed import start_processes
from asr.runs.checkpoint import write_tensors
from asr.runs.folder import RunError
from asr.train import main
from asr.training import loop
from asr.training.experiment import DataError
from asr.training.steps import TrainingError
from tests.programs.kill_trial import run_trials
from tests.support.tones import write_config, write_split, write_tone_corpus

ROOT = Path(__file__).resolve().parents[2]


def run(config: Path, run_dir: Path, *overrides: str) -> int:
    return main([str(config), f"run_dir={run_dir}", *overrides])


def losses(run_dir: Path) -> list[dict]:
    return [json.loads(line) for line in (run_dir / "metrics.jsonl").read_text().splitlines()]


def spawn(*arguments: str) -> subprocess.Popen:
    return subprocess.Popen(
        [sys.executable, "-m", "asr.train", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        cwd=ROOT,
        start_new_session=True,
    )


def wait_for(condition, process: subprocess.Popen, seconds: float = 90.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert process.poll() is None, process.communicate()[0]
        assert time.monotonic() < deadline, "it took too long"
        time.sleep(0.05)


def test_a_training_learns_and_leaves_a_whole_run(tone_config: Path, tmp_path: Path, capsys) -> None:
    arguments = ("train.max_epochs=30", "train.evaluate_every_epochs=10", "data.batch_seconds=4", "augment=[]")
    assert run(tone_config, tmp_path / "run", *arguments) == 0
    output = capsys.readouterr().out
    assert "data: 60 utterances" in output
    assert "worst batch:" in output
    record = json.loads((tmp_path / "run" / "run.json").read_text())
    assert record["dev"]["wer"] < 0.2, output
    assert "dev WER" in (tmp_path / "run" / "README.md").read_text()
    assert load_config(tmp_path / "run" / "config.yaml").seed == 7
    assert (tmp_path / "run" / "dropped.jsonl").read_text() == ""
    best = list((tmp_path / "run" / "best").iterdir())
    assert len(best) == 2
    assert set(load_file(best[0])) == set(load_file(tmp_path / "run" / "model.safetensors"))


def test_the_same_command_again_finds_the_work_done(tone_config: Path, tmp_path: Path) -> None:
    run(tone_config, tmp_path / "run")
    before = (tmp_path / "run" / "model.safetensors").read_bytes(), losses(tmp_path / "run")
    assert run(tone_config, tmp_path / "run") == 0
    assert ((tmp_path / "run" / "model.safetensors").read_bytes(), losses(tmp_path / "run")) == before


@pytest.mark.slow
def test_a_training_killed_at_random_moments_ends_bit_identical(tmp_path: Path) -> None:
    """The short version of `python -m tests.programs.kill_trial --trials 20 --kills 3`."""
    assert run_trials(tmp_path, trials=1, kills=2, epochs=8) == [True]


def test_stopping_after_any_step_and_resuming_changes_no_bit(tone_config: Path, tmp_path: Path) -> None:
    run(tone_config, tmp_path / "whole", "train.ema_decay=0.9")
    steps = losses(tmp_path / "whole")[-1]["step"]
    for stop in range(1, steps):
        # max_steps ends a run as the last epoch does; taking its checkpoint away leaves the state of a kill.
        stop_at_step(tone_config, tmp_path / "cut", stop, "train.ema_decay=0.9")
    assert run(tone_config, tmp_path / "cut", "train.ema_decay=0.9") == 0
    assert losses(tmp_path / "cut") == losses(tmp_path / "whole")
    whole, cut = (load_file(tmp_path / name / "model.safetensors") for name in ("whole", "cut"))
    assert all(torch.equal(whole[name], cut[name]) for name in whole)


def stop_at_step(config: Path, run_dir: Path, step: int, *overrides: str) -> None:
    """Run until `step` steps are done, then stop as a signal does."""
    import asr.training.loop

    compute = asr.training.loop.compute_step

    def compute_and_stop(training, batches) -> None:
        compute(training, batches)
        if training.progress.step + 1 >= step:
            training.interruption.signal = signal.SIGTERM

    asr.training.loop.compute_step = compute_and_stop
    try:
        assert run(config, run_dir, *overrides) == 143
    finally:
        asr.training.loop.compute_step = compute


@pytest.mark.parametrize("whole_job", [False, True])  # as `kill` does, or as Slurm, systemd and a terminal do
@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_signal_checkpoints_and_the_exit_code_says_so(
    tone_config: Path, tmp_path: Path, number: int, code: int, whole_job: bool
) -> None:
    process = spawn(str(tone_config), f"run_dir={tmp_path / 'run'}", "train.max_epochs=500", "data.num_workers=1")
    wait_for(lambda: (tmp_path / "run" / "metrics.jsonl").exists() and losses(tmp_path / "run"), process)
    if whole_job:
        os.killpg(process.pid, number)
    else:
        process.send_signal(number)
    output, _ = process.communicate(timeout=60)
    assert process.returncode == code, output
    stopped = int(re.search(rf"stopped by signal {number:d} at step (\d+)", output).group(1))  # type: ignore[union-attr]
    assert (tmp_path / "run" / "checkpoints" / f"step-{stopped:08d}").is_dir()


def test_a_second_training_in_the_same_folder_is_refused(tone_config: Path, tmp_path: Path) -> None:
    process = spawn(str(tone_config), f"run_dir={tmp_path / 'run'}", "train.max_epochs=500")
    try:
        wait_for(lambda: (tmp_path / "run" / "checkpoints").exists(), process)
        with pytest.raises(RunError, match="another training is writing to this run folder"):
            run(tone_config, tmp_path / "run", "train.max_epochs=500")
    finally:
        process.kill()
        process.communicate()


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("seed=8", "seed: was 7, is now 8"),
        ("encoder.cell.hidden_size=12", "encoder.cell.hidden_size: was 24, is now 12"),
        ("tokenizer={kind: sentencepiece, vocabulary_size: 20}", "tokenizer.kind: was 'char', is now 'sentencepiece'"),
    ],
)
def test_a_changed_experiment_is_refused_with_the_difference(
    tone_config: Path, tmp_path: Path, override: str, message: str
) -> None:
    run(tone_config, tmp_path / "run", "train.max_epochs=1")
    with pytest.raises(RunError, match=message):
        run(tone_config, tmp_path / "run", "train.max_epochs=1", override)


def test_what_decides_nothing_may_change(tone_config: Path, tmp_path: Path) -> None:
    run(tone_config, tmp_path / "run", "train.max_epochs=1")
    assert run(tone_config, tmp_path / "run", "train.max_epochs=1", "data.num_workers=1", "tracking.trackers=[]") == 0


def test_changed_data_is_refused(tmp_path: Path) -> None:
    config = write_config(tmp_path / "tones.yaml", write_tone_corpus(tmp_path / "corpus", num_train=12, num_dev=3))
    run(config, tmp_path / "run", "train.max_epochs=1")
    write_split(tmp_path / "corpus", "train", 13, seed=5)
    with pytest.raises(RunError, match=r"data.train.0: the content was .*, is now"):
        run(config, tmp_path / "run", "train.max_epochs=1")


def test_a_changed_tokenizer_file_is_refused(tone_config: Path, tmp_path: Path) -> None:
    run(tone_config, tmp_path / "run", "train.max_epochs=1")
    path = tmp_path / "run" / "tokenizer" / "tokenizer.json"
    path.write_text(path.read_text().replace('"d"', '"e"'))
    with pytest.raises(DataError, match="the tokenizer is another than this run began with"):
        run(tone_config, tmp_path / "run", "train.max_epochs=1")


def test_a_damaged_newest_checkpoint_is_set_aside_and_the_one_before_used(
    tone_config: Path, tmp_path: Path, capsys
) -> None:
    run(tone_config, tmp_path / "whole")
    stop_at_step(tone_config, tmp_path / "run", 10)
    before, newest = sorted((tmp_path / "run" / "checkpoints").glob("step-*"))
    data = bytearray((newest / "state.safetensors").read_bytes())
    data[-5] ^= 1
    (newest / "state.safetensors").write_bytes(data)
    capsys.readouterr()
    assert run(tone_config, tmp_path / "run") == 0
    output = capsys.readouterr().out
    assert f"set aside as damaged-{newest.name}" in output
    assert f"resuming at step {int(before.name[5:])}" in output
    assert losses(tmp_path / "run") == losses(tmp_path / "whole")


def test_missing_data_is_answered_with_the_command_that_prepares_it(tone_config: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"data.dev.manifest: .*none.jsonl: no such file; prepare it with\n  do this"):
        run(tone_config, tmp_path / "run", f"data.dev.manifest={tmp_path}/none.jsonl", "data.prepare=do this")
    with pytest.raises(DataError, match=r"data.train.0.shards: none: no such file; prepare it first"):
        run(tone_config, tmp_path / "run", "data.train.0.shards=none", "augment=[]")


def test_a_run_to_start_from_must_be_there_until_the_training_is_under_way(tone_config: Path, tmp_path: Path) -> None:
    nowhere = f"init_from={tmp_path / 'none'}"
    for more in (["--dry-run"], []):
        with pytest.raises(DataError, match=r"init_from: .*none: no trained run; train it first, or start from"):
            run(tone_config, tmp_path / "run", nowhere, *more)
    first = f"init_from={tmp_path / 'first'}"
    run(tone_config, tmp_path / "first", "train.max_steps=1")
    stop_at_step(tone_config, tmp_path / "run", 2, first, "train.max_steps=3")
    (tmp_path / "first" / "model.safetensors").unlink()
    assert run(tone_config, tmp_path / "run", first, "train.max_steps=3") == 0


def test_utterances_that_cannot_be_trained_on_are_named(tmp_path: Path, capsys) -> None:
    corpus = write_tone_corpus(tmp_path / "corpus", num_train=12, num_dev=3)
    lines = [json.loads(line) for line in (corpus / "train.jsonl").read_text().splitlines()]
    lines[0]["text"] = "abcdabcd" * 40
    lines[1]["text"] = ""
    lines.append({**lines[2], "id": "again", "text": "ab ba"})
    lines.append({**lines[3], "id": "the same again"})
    (corpus / "train.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    config = write_config(tmp_path / "tones.yaml", corpus)
    run(config, tmp_path / "run", "train.max_epochs=1", "data.max_duration=1.3")
    output = capsys.readouterr().out
    dropped = {item["id"]: item["reason"] for item in map(json.loads, (tmp_path / "run" / "dropped.jsonl").open())}
    assert re.match(r"its 320 tokens need \d+ frames of log-mel; it has \d+", dropped["train-000"])
    assert dropped["train-001"] == "the transcript is empty"
    contradiction = f"its recording is listed with different transcripts: '{lines[2]['text']}' (train-002) and 'ab ba'"
    assert dropped["train-002"] == dropped["again"] == f"{contradiction} (again)"
    assert "the same again" not in dropped or "longer" in dropped["the same again"]
    assert any("is longer than data.max_duration (1.3 s)" in reason for reason in dropped.values())
    assert f"left out of training: {len(dropped)} utterances" in output
    assert "train-000" in output
    with pytest.raises(DataError, match="none of the 14 utterances can be trained on"):
        run(config, tmp_path / "other", "data.max_duration=0.01")


def test_an_unreadable_recording_stops_the_training_with_its_name_and_loses_nothing(tmp_path: Path) -> None:
    corpus = write_tone_corpus(tmp_path / "corpus", num_train=40, num_dev=3)
    config = write_config(tmp_path / "tones.yaml", corpus)
    stop_at_step(config, tmp_path / "run", 2)
    for number in range(40):
        (corpus / "train" / f"train-{number:03d}.wav").write_bytes(b"RIFF")
    for workers in (0, 1):
        with pytest.raises(TrainingError, match=r"train-\d+\.wav.*\nThe training stopped at step 2"):
            run(config, tmp_path / "run", f"data.num_workers={workers}")
    assert (tmp_path / "run" / "checkpoints" / "step-00000002").is_dir()


def test_a_step_that_is_not_finite_is_skipped_and_named(tone_config: Path, tmp_path: Path, monkeypatch, capsys) -> None:
    loss, compute_step, steps = CTCHead.loss, loop.compute_step, []

    def noting_step(training, step):
        steps.append(training.progress.step)
        compute_step(training, step)

    def sometimes_nan(self, encodings, lengths, tokens, token_lengths):
        values = loss(self, encodings, lengths, tokens, token_lengths)
        return torch.cat((values[:1] * float("nan"), values[1:])) if self.training and steps[-1:] == [2] else values

    monkeypatch.setattr(loop, "compute_step", noting_step)
    monkeypatch.setattr(CTCHead, "loss", sometimes_nan)
    assert run(tone_config, tmp_path / "run") == 0
    named = re.search(
        r"step 2: the loss or its gradient is not finite; utterances: (.*); the step is skipped",
        capsys.readouterr().err,
    )
    assert named
    assert re.fullmatch(r"train-\d+", named.group(1))
    weights = load_file(tmp_path / "run" / "model.safetensors")
    assert all(value.isfinite().all() for value in weights.values())


def test_too_many_steps_in_a_row_that_are_not_finite_stop_the_training(
    tone_config: Path, tmp_path: Path, monkeypatch
) -> None:
    monkeypatch.setattr(CTCHead, "loss", lambda self, encodings, *rest: encodings.sum(dim=(1, 2)) * float("inf"))
    with pytest.raises(TrainingError, match=r"3 steps in a row, so the training stops.*train with another run_dir"):
        run(tone_config, tmp_path / "run", "train.max_bad_steps=3", "data.batch_seconds=30")


def test_early_stopping_and_a_limit_of_steps_end_a_training(tone_config: Path, tmp_path: Path) -> None:
    run(tone_config, tmp_path / "short", "train.max_steps=2")
    assert json.loads((tmp_path / "short" / "run.json").read_text())["steps"] == 2
    run(
        tone_config,
        tmp_path / "early",
        "train.max_epochs=50",
        "optim.learning_rate=1e-9",
        "train.early_stopping_epochs=2",
    )
    scored = [line for line in losses(tmp_path / "early") if "dev/wer" in line]
    assert len(scored) < 10


def test_fine_tuning_takes_what_fits_and_says_what(tone_config: Path, tmp_path: Path, capsys) -> None:
    run(tone_config, tmp_path / "base", "train.max_epochs=1")
    capsys.readouterr()
    corpus = write_tone_corpus(tmp_path / "corpus", num_train=12, num_dev=3)
    manifest = (corpus / "train.jsonl").read_text().replace('"text": "', '"text": "e')
    (corpus / "train.jsonl").write_text(manifest)
    config = write_config(tmp_path / "fine.yaml", corpus)
    run(config, tmp_path / "fine", f"init_from={tmp_path / 'base'}", "train.max_steps=1", "optim.learning_rate=1e-9")
    output = capsys.readouterr().out
    assert f"init_from {tmp_path / 'base'}: took" in output
    assert "pieces of heads.0.projection.weight" in output
    base, fine = (load_file(tmp_path / name / "model.safetensors") for name in ("base", "fine"))
    torch.testing.assert_close(
        fine["encoder.layers.0.forwards.input_weight"], base["encoder.layers.0.forwards.input_weight"]
    )
    assert len(fine["heads.0.projection.weight"]) == len(base["heads.0.projection.weight"]) + 1
    write_tensors(tmp_path / "base" / "model.safetensors", {"other": torch.zeros(2)})
    with pytest.raises(ValueError, match="no tensor of that run fits this model"):
        run(config, tmp_path / "worse", f"init_from={tmp_path / 'base'}")


def test_a_dry_run_says_everything_and_writes_nothing(tone_config: Path, tmp_path: Path, capsys) -> None:
    assert run(tone_config, tmp_path / "run", "--dry-run", "features.normalization=global") == 0
    output = capsys.readouterr().out
    for expected in (
        "60 utterances",
        "parameters",
        "multiply-adds a second",
        "worst batch",
        "encodings [batch",
        "precision: fp32, as the configuration says",
        "what runs the recurrent layers here, over many frames:\n  encoder.layers.0  ",
        "96 x 24",
    ):
        assert expected in output
    assert not (tmp_path / "run").exists()


def test_what_runs_the_layers_is_explained_without_data(capsys) -> None:
    assert main(["conf/bilstm_ctc.yaml", "--explain-layers", "encoder.cell.kind=gru", "train.precision=fp32"]) == 0
    first, training, *layers, again = capsys.readouterr().out.splitlines()[:5]
    assert first == "precision: fp32, as the configuration says"
    assert (training, again) == ("in training, over many frames:", "in recognition, in fp32:")
    assert [line.split()[0] for line in layers] == ["encoder.layers.0", "encoder.layers.1"]
    assert all(" in float32" in line and ": " in line for line in layers)
    assert main(["conf/lm_ngram.yaml", "--explain-layers"]) == 0
    assert main(["conf/lm_lstm.yaml", "--explain-layers"]) == 0
    said = capsys.readouterr().out
    assert said.startswith("a model of counts has no recurrent layers\nprecision: ")
    assert "in scoring, in fp32:\n  layers.0" in said


def test_global_statistics_are_measured_once_and_refused_when_others(tone_config: Path, tmp_path: Path) -> None:
    arguments = ("features.normalization=global", "train.max_epochs=1")
    run(tone_config, tmp_path / "run", *arguments)
    before = (tmp_path / "run" / "feature_statistics.safetensors").read_bytes()
    assert run(tone_config, tmp_path / "run", *arguments) == 0
    assert (tmp_path / "run" / "feature_statistics.safetensors").read_bytes() == before
    FeatureStatistics(torch.zeros(20), torch.ones(20)).save(tmp_path / "run" / "feature_statistics.safetensors")
    with pytest.raises(DataError, match="the feature statistics are another than this run began with"):
        run(tone_config, tmp_path / "run", *arguments)


def test_accumulation_gives_the_same_training(tone_config: Path, tmp_path: Path) -> None:
    plain = ("encoder.dropout=0.0", "augment=[]", "train.max_steps=4", "train.log_every_steps=1")
    run(tone_config, tmp_path / "whole", *plain)
    run(tone_config, tmp_path / "parts", *plain, "train.accumulation=3")
    whole = [line["train/loss"] for line in losses(tmp_path / "whole") if "train/loss" in line]
    parts = [line["train/loss"] for line in losses(tmp_path / "parts") if "train/loss" in line]
    assert parts == pytest.approx(whole, rel=1e-4)


def test_asking_for_cuda_where_there_is_none_is_refused() -> None:
    if torch.cuda.is_available():
        pytest.skip("this machine has a CUDA device")
    with pytest.raises(ValueError, match="'cuda' was asked for, but torch sees no CUDA device"):
        start_processes("cuda")


@pytest.mark.slow
def test_torch_compile_trains(tone_config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TORCHINDUCTOR_COMPILE_THREADS", "1")  # no processes that first have to start
    # In a process of its own: the checks of shapes that the tests put into every function cannot be compiled.
    process = spawn(str(tone_config), f"run_dir={tmp_path / 'run'}", "train.compile=true", "train.max_steps=2")
    output, _ = process.communicate(timeout=300)
    assert process.returncode == 0, output


@pytest.mark.parametrize("precision", ["bf16", "fp32"])
def test_every_precision_of_a_cpu_trains(tone_config: Path, tmp_path: Path, precision: str) -> None:
    assert run(tone_config, tmp_path / "run", f"train.precision={precision}", "train.max_steps=2") == 0


def test_a_training_says_and_keeps_its_precision(
    tone_config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    """Begun with auto, it goes on in the same where the processor would give another, and not in another asked for."""
    folder, auto = tmp_path / "run", "train.precision=auto"
    for has_halves, steps in ((False, 2), (True, 3)):
        monkeypatch.setattr(processor, "has_halves", lambda has_halves=has_halves: has_halves)
        monkeypatch.setattr(processor, "name", lambda steps=steps: f"processor {steps}")
        assert run(tone_config, folder, auto, f"train.max_steps={steps}") == 0
        lines = [line for line in capsys.readouterr().out.splitlines() if line.startswith("precision: ")]
        reason = "in which this run was begun" if has_halves else "auto: cpu (processor 2) does not multiply bfloat16"
        assert lines == [f"precision: fp32, {reason}"]
    record = json.loads((folder / "run.json").read_text())
    assert record["precision"] == "fp32"
    assert record["computed_on"] == ["cpu (processor 2)", "cpu (processor 3)"]
    assert load_config(folder / "config.yaml").train.precision == "fp32"
    with pytest.raises(RunError, match=r"train\.precision: was 'fp32', is now 'bf16'"):
        run(tone_config, folder, "train.precision=bf16")


def test_a_run_of_before_auto_goes_on_in_its_bfloat16(tone_config: Path, tmp_path: Path) -> None:
    assert run(tone_config, tmp_path / "run", "train.precision=bf16", "train.max_steps=2") == 0
    record = tmp_path / "run" / "run.json"
    values = json.loads(record.read_text())
    record.write_text(json.dumps({key: values[key] for key in values if key not in ("precision", "computed_on")}))
    assert run(tone_config, tmp_path / "run", "train.precision=auto", "train.max_steps=3") == 0
    assert json.loads(record.read_text())["precision"] == "bf16"


def test_recurrent_dropout_in_bfloat16_comes_through_the_dev_scoring(tone_config: Path, tmp_path: Path) -> None:
    """What is trained by the scan is scored by PyTorch's LSTM, where the processor has that."""
    overrides = ["encoder.cell.recurrent_dropout=0.2", "encoder.num_layers=2", "train.precision=bf16"]
    assert run(tone_config, tmp_path / "run", *overrides, "train.max_steps=2") == 0


def torchrun(config: Path, run_dir: Path, *overrides: str) -> subprocess.Popen:
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    command += ["-m", "asr.train", str(config), f"run_dir={run_dir}", "train.device=cpu", *overrides]
    return subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        cwd=ROOT,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )


@pytest.mark.slow
def test_two_processes_train_to_the_same_score_as_one(tone_config: Path, tmp_path: Path) -> None:
    arguments = ("encoder.dropout=0.0", "train.max_epochs=12", "train.evaluate_every_epochs=4")
    process = torchrun(tone_config, tmp_path / "two", *arguments)
    run(tone_config, tmp_path / "one", *arguments)
    output, _ = process.communicate(timeout=300)
    assert process.returncode == 0, output
    assert output.count("worst batch") == 1, "only the first process speaks"
    one, two = losses(tmp_path / "one"), losses(tmp_path / "two")
    assert [line["step"] for line in one] == [line["step"] for line in two]
    first = [next(line["train/loss"] for line in lines if "train/loss" in line) for lines in (one, two)]
    assert first[1] == pytest.approx(first[0], rel=1e-4)
    wers = [json.loads((tmp_path / name / "run.json").read_text())["dev"]["wer"] for name in ("one", "two")]
    assert wers[1] == pytest.approx(wers[0], abs=0.05)


@pytest.mark.slow
def test_a_killed_process_ends_all_within_a_minute(tone_config: Path, tmp_path: Path) -> None:
    process = torchrun(tone_config, tmp_path / "run", "train.max_epochs=5000")
    try:
        wait_for(lambda: (tmp_path / "run" / "metrics.jsonl").exists() and losses(tmp_path / "run"), process)
        children = subprocess.run(["pgrep", "-P", str(process.pid)], capture_output=True, text=True, check=True)
        os.kill(int(children.stdout.split()[-1]), signal.SIGKILL)
        output, _ = process.communicate(timeout=60)
        assert process.returncode != 0, output
    finally:
        process.kill()
