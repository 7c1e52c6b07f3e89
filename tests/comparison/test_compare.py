"""python -m asr.compare: sizes, trainings as programs of their own, honest statistics, a report that stands alone."""

import json
import re
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import asr.comparison.trial
from asr.compare import main
from asr.comparison.long_lag import TASKS, LagModel, LongLagConfig, fit_cell, gradient_norms, run_probe
from asr.comparison.members import ComparisonConfig, ComparisonError, Member, MemberConfig, plan_members, solve_size
from asr.comparison.report import compare, conclusions, draw_plots, notes, table_rows, write_markdown, write_page
from asr.comparison.significance import adjust_for_many, chance_rate, interval_over_seeds, paired_difference
from asr.comparison.trial import Trial, TrialError, TrialResult, run_training, score_words
from asr.config.reading import ConfigError, load_section
from asr.config.recognizer import load_config
from asr.data.manifest import Utterance
from asr.data.manifest_writing import write_manifest
from asr.metrics import ErrorCounts, MetricsError
from asr.model.acoustic import Model
from asr.model.cells import ConvLSTMConfig, LSTMConfig, RNNConfig
from asr.model.heads.ctc import CTCHeadConfig
from asr.pages.plots import PlotError, draw_lines
from asr.process.signals import stopping_on_sigterm
from asr.training.memory import multiply_adds
from asr.training.speed import Speed
from tests.support.small_run import write_small_run
from tests.support.tones import write_config

COMPARISON = """
run_dir: {folder}/run
base: {folder}/tones.yaml
overrides: [train.max_epochs=1]
test: {corpus}/dev.jsonl
num_parameters: 12000
trackers: [jsonl]
members:
  - {{name: gru, overrides: ["encoder.cell={{kind: gru}}", encoder.bidirectional=false]}}
  - {{name: broken, overrides: [init_from=nowhere]}}
long_lag: {{cells: [{{kind: rnn}}, {{kind: lstm}}], num_parameters: 300, lags: [4, 12], num_steps: 2, batch_size: 3}}
"""


@pytest.fixture(scope="module")
def comparison_file(tone_corpus: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("comparison")
    write_config(folder / "tones.yaml", tone_corpus)
    (folder / "compare.yaml").write_text(COMPARISON.format(folder=folder, corpus=tone_corpus))
    return folder / "compare.yaml"


@pytest.fixture(scope="module")
def finished(comparison_file: Path) -> tuple[int, Path]:
    """A comparison run as a user runs it, one member of which fails: its exit code and folder."""
    return main([str(comparison_file)]), comparison_file.parent / "run"


def test_one_failed_member_does_not_sink_the_others(finished: tuple[int, Path]) -> None:
    code, folder = finished
    assert code == 4
    report = (folder / "report.md").read_text()
    assert re.search(r"broken, seed 0: the training ended with exit code 2: error: .*nowhere", report)
    (row,) = [line for line in report.splitlines() if line.startswith("| gru |")]
    assert row.count("|") == 15
    result = json.loads((folder / "gru" / "seed-0" / "comparison.json").read_text())
    assert len(result["words"]) == 12
    assert result["peak_bytes"] > 100e6  # at least torch itself
    config = load_config(folder / "gru" / "seed-0" / "config.yaml")
    with torch.device("meta"):
        encoder = config.encoder.build(config.features.num_mels)
    assert abs(sum(value.numel() for value in encoder.parameters()) - 12_000) < 1500


def test_finished_members_are_kept(finished, comparison_file: Path, monkeypatch, capsys) -> None:
    trained, kept = [], []
    monkeypatch.setattr(
        asr.comparison.trial, "run_training", lambda command, log, *, group: trained.append(command[3:]) or 1
    )
    monkeypatch.setattr("asr.comparison.run.report", lambda config, members, results, failures: kept.append(results))
    assert main([str(comparison_file), "num_resamples=100"]) == 4
    (command,) = trained  # the one that failed is tried again
    assert "init_from=nowhere" in command
    assert "broken" in capsys.readouterr().err
    assert [sorted(results) for results in kept] == [["gru"]]
    trained.clear()
    main([str(comparison_file), 'overrides=["train.max_epochs=2"]'])
    assert len(trained) == 2  # another experiment is not taken for the finished one


def test_a_training_that_fails_or_is_interrupted(tmp_path: Path) -> None:
    python = [sys.executable, "-c"]
    assert run_training([*python, "pass"], tmp_path / "good.log", group="g") > 1e6
    said = (
        "import os; print(os.environ['WANDB_RUN_GROUP']); print('error: no memory'); print('bye'); raise SystemExit(3)"
    )
    with pytest.raises(TrialError, match=r"exit code 3: error: no memory \(all of it: .*bad\.log\)"):
        run_training([*python, said], tmp_path / "bad.log", group="cells")
    assert (tmp_path / "bad.log").read_text().startswith("cells\n")
    started = time.perf_counter()
    before = signal.signal(signal.SIGALRM, lambda *_: (_ for _ in ()).throw(KeyboardInterrupt()))
    signal.setitimer(signal.ITIMER_REAL, 0.5)
    try:
        with pytest.raises(KeyboardInterrupt):
            run_training([*python, "import time; time.sleep(60)"], tmp_path / "long.log", group="g")
    finally:
        signal.signal(signal.SIGALRM, before)
    assert time.perf_counter() - started < 10  # the training was ended, not waited for


def test_being_asked_to_stop_is_like_being_interrupted() -> None:
    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(KeyboardInterrupt), stopping_on_sigterm():
        signal.raise_signal(signal.SIGTERM)
    assert signal.getsignal(signal.SIGTERM) is before


def test_a_test_utterance_that_cannot_be_read_fails_the_member(tmp_path: Path) -> None:
    (tmp_path / "bad.wav").write_bytes(b"RIFF")
    write_manifest(tmp_path / "test.jsonl", [Utterance("u1", str(tmp_path / "bad.wav"), 1.0, "stop")])
    folder = write_small_run(tmp_path / "run")
    member = Member("m", Path("x.yaml"), (), load_config(folder.config_path), 1, "")
    with pytest.raises(TrialError, match=r"test\.jsonl: u1: .*bad\.wav"):
        score_words(Trial(member, 0, tmp_path / "run"), str(tmp_path / "test.jsonl"))


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("reference=lsmt", r"reference: 'lsmt' is no member; expected one of gru, broken"),
        ("members=[{name: a}, {name: a}]", "the name 'a' is there twice"),
        ("seeds=[1, 1]", "seeds: \\[1, 1\\] holds one twice"),
        ("member=[]", "member: unknown key; did you mean 'members'?"),
        ("members=[{name: ../x}]", "members.0.name: found '../x'"),
        ("long_lag.lags=[30, 10]", "lags: \\[30, 10\\]; expected growing numbers of steps"),
        ("long_lag.cells=[{kind: conv_lstm, num_bands: 5}]", "num_bands 5 does not divide 16 inputs; choose 1, 2"),
        ("long_lag.cells=[{kind: rnn}, {kind: rnn}]", "cells: rnn, rnn; expected each kind once"),
    ],
)
def test_a_faulty_comparison_is_refused(comparison_file: Path, override: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        load_section(comparison_file, ComparisonConfig, [override])


def test_all_members_that_cannot_be_are_named_at_once(comparison_file: Path, tmp_path: Path) -> None:
    config = load_section(comparison_file, ComparisonConfig)
    faulty = (
        MemberConfig(name="one", overrides=("encoder.num_layer=2",)),
        MemberConfig(name="two", config=str(tmp_path / "none.yaml")),
        MemberConfig(name="three", size_keys={"seed": 1.0}),
        MemberConfig(name="four", overrides=("encoder.subsampling.output_size=4000",)),
    )
    with pytest.raises(ComparisonError) as caught:
        plan_members(config.model_copy(update={"members": faulty}))
    text = str(caught.value)
    assert re.search(r"members: one: .*did you mean 'num_layers'", text)
    assert re.search(r"members: two: .*none\.yaml: no such file", text)
    assert "three: num_parameters: 12,000 are not reached by a size of 8192; do the size_keys set it?" in text
    assert re.search(r"four: num_parameters: 12,000 are too few, the smallest size has", text)
    with pytest.raises(ComparisonError, match=r"none\.jsonl: no such file; prepare it with\n  make data"):
        plan_members(config.model_copy(update={"test": "none.jsonl", "prepare": "make data"}))


@settings(max_examples=40)
@given(slope=st.integers(1, 50), square=st.integers(0, 5), target=st.integers(2_000, 100_000), step=st.integers(1, 8))
def test_the_solved_size_is_the_nearest(slope: int, square: int, target: int, step: int) -> None:
    def count(size: int) -> int:
        return slope * size + square * size * size

    if count(8192 // step * step) < target:
        return
    found = solve_size(count, target, step=step)
    assert found % step == 0
    assert all(abs(count(found) - target) <= abs(count(size) - target) for size in (found - step, found + step) if size)


@pytest.mark.parametrize("path", sorted(Path("conf").glob("compare*.yaml")), ids=str)
def test_every_member_of_the_shipped_comparisons_is_valid(path: Path) -> None:
    comparison = load_section(path, ComparisonConfig)
    kinds = set()
    for member in comparison.members:
        config = load_config(comparison.base, [*comparison.overrides, *member.overrides])
        kinds.add((config.encoder.bidirectional, config.encoder.kind, config.encoder.cell.kind))
    assert len(kinds) == len(comparison.members) == 2 * 10  # every cell in both directions


def test_quick_goes_with_the_probe_only(comparison_file: Path, capsys) -> None:
    with pytest.raises(SystemExit):
        main([str(comparison_file), "--quick"])
    assert "--quick goes with --probe" in capsys.readouterr().err
    run = subprocess.run([sys.executable, "-m", "asr.compare", "--help"], capture_output=True, text=True, check=True)
    assert "--probe" in run.stdout


def test_a_paired_test_sees_what_is_there_and_no_more() -> None:
    generator = np.random.default_rng(0)
    lengths = np.full(200, 3)
    errors = generator.binomial(3, 0.3, size=(1, 200))
    same = paired_difference(errors, errors, lengths, generator=generator, num_resamples=500)
    assert (same.difference, same.low, same.high, same.p_value) == (0, 0, 0, 1)
    fewer = np.maximum(errors - (np.arange(200) % 4 == 0), 0)
    better = paired_difference(fewer, errors, lengths, generator=generator, num_resamples=2000)
    assert better.difference == pytest.approx((fewer.sum() - errors.sum()) / 600)
    assert better.low < better.difference < better.high < 0
    assert 0 < better.p_value < 0.01
    swapped = paired_difference(errors, fewer, lengths, generator=generator, num_resamples=2000)
    assert swapped.difference == -better.difference
    # Seeds that disagree widen the interval, though the utterances are the same.
    seeds = np.concatenate((errors, fewer))
    wider = paired_difference(seeds, errors, lengths, generator=generator, num_resamples=2000)
    assert wider.high >= 0 > wider.low
    with pytest.raises(
        MetricsError, match="200 and 199 utterances, 600 words in 200 references; expected the same utt"
    ):
        paired_difference(errors, errors[:, 1:], lengths, generator=generator)


def test_equal_recognisers_differ_significantly_about_as_often_as_promised() -> None:
    generator = np.random.default_rng(1)
    lengths = np.ones(100, dtype=np.int64)
    false_alarms = 0
    for _ in range(200):
        left, right = generator.binomial(1, 0.2, size=(2, 1, 100))
        false_alarms += paired_difference(left, right, lengths, generator=generator, num_resamples=200).p_value < 0.05
    assert 2 <= false_alarms <= 22  # 10 are expected


def test_intervals_over_seeds_and_holms_correction_by_hand() -> None:
    interval = interval_over_seeds([0.3, 0.4, 0.5])
    assert interval is not None
    assert (interval.low, interval.high) == pytest.approx(
        (0.4 - 4.3026527 * 0.1 / 3**0.5, 0.4 + 4.3026527 * 0.1 / 3**0.5)
    )
    assert interval_over_seeds([0.3]) is None
    assert adjust_for_many([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert adjust_for_many([]) == []


def test_one_answer_to_everything_has_learnt_nothing() -> None:
    digits = [str(number % 10) for number in range(50)]
    assert chance_rate(digits) == 0.9
    assert chance_rate(["turn on", "turn on", "turn on", "stop"]) == pytest.approx(2 / 7)  # "turn on" to everything
    assert chance_rate(["turn on", "go on", "", ""]) == 1.0  # "on" is said twice and would be inserted twice
    assert chance_rate(["a b", "c d", "b e"]) == pytest.approx(4 / 6)  # "b" to everything
    assert chance_rate(["", ""]) == 0.0


def made_up_comparison(comparison_file: Path, *, chance: float = 1.0):
    """Three members, two seeds: `worse` has an error more in every utterance."""
    config = load_section(comparison_file, ComparisonConfig).model_copy(
        update={
            "members": tuple(MemberConfig(name=name) for name in ("lstm", "worse", "same.1")) ,
            "seeds": (0, 1),
        }
    )  # fmt: skip
    base = load_config(comparison_file.with_name("tones.yaml"))
    members = [Member(m.name, Path("x.yaml"), (), base, 1000, "hidden_size 8") for m in config.members]

    def result(errors: int) -> TrialResult:
        words = tuple(ErrorCounts(hits=3 - errors - n % 2, substitutions=errors + n % 2) for n in range(40))
        return TrialResult("digest", words, int(5e8), 60.0, 2.5, ((1, 1.0), (2, 0.5)))

    results = {member.name: {seed: result(int(member.name == "worse")) for seed in (0, 1)} for member in members}
    speeds = {member.name: Speed(2e6, 0.01, 0.02) for member in members}
    return compare(
        config, members, results=results, speeds=speeds, failures=["gone, seed 1: <b>why</b>"], chance=chance
    )


def test_the_report_says_what_the_tests_allow_and_stands_alone(comparison_file: Path, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    comparison = made_up_comparison(comparison_file)
    assert [member.verdict for member in comparison.members] == ["reference", "worse", "no difference shown"]
    assert conclusions(comparison) == ["worse than lstm: worse", "no difference shown from lstm: same.1"]
    rows = table_rows(comparison)
    assert rows[0][:4] == ["lstm", "hidden_size 8", "1,000", "16.67%"]
    assert rows[1][6] == "+33.33 (+33.33 to +33.33)"
    plots = draw_plots(comparison)
    write_markdown(tmp_path / "report.md", comparison, plots)
    write_page(tmp_path / "report.html", comparison, plots)
    markdown, page = (tmp_path / "report.md").read_text(), (tmp_path / "report.html").read_text()
    assert all((tmp_path / name).read_text() == svg for name, (_, svg) in plots.items())
    assert all(f"]({name})" in markdown for name in plots)
    assert page.count("<svg") == len(plots) == 4
    assert "&lt;b&gt;why&lt;/b&gt;" in page
    assert "<script" not in page
    assert not re.findall(r'(?:src|href)="(?!#)(?!http://purl|http://www\.w3|data:)[^"]*"', page)
    again = draw_plots(comparison)
    assert again == plots  # the same figures give the same files


def test_no_verdict_on_who_learnt_nothing(comparison_file: Path) -> None:
    """WER 16.7 % (11.7 to 21.7) of two members, 50 % (45 to 55) of `worse`."""
    half = made_up_comparison(comparison_file, chance=0.53)
    assert [member.verdict for member in half.members] == ["reference", "nothing learnt", "no difference shown"]
    assert conclusions(half) == [
        "no difference shown from lstm: same.1",
        "nothing learnt, no better than one answer to everything: worse",
    ]
    none = made_up_comparison(comparison_file, chance=0.2)
    assert {member.verdict for member in none.members} == {"nothing learnt"}
    assert conclusions(none)[-1] == "no verdicts: lstm, which the others are tested against, learnt nothing"
    assert any("is not below 53.00%" in note for note in notes(half))
    apart = replace(half.members[2], reference_learnt=False)
    assert apart.verdict == "none: the reference learnt nothing"


def test_plots_without_matplotlib_say_what_to_install(monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(PlotError, match=r"matplotlib is not installed; .* pip install 'earshot\[plots\]'"):
        draw_lines({"a": [(1.0, 2.0)]}, x_label="x", y_label="y")


def test_multiply_adds_count_a_kernel_over_bands_once_a_band(tone_config: Path) -> None:
    config = load_config(
        tone_config,
        [
            "encoder={kind: conv_lstm, factor: 2, num_channels: 2, num_blocks: 1, projection_size: 3, num_layers: 0, "
            "bidirectional: false}"
        ],
    )
    model = Model(num_mels=6, encoder=config.encoder, heads=(CTCHeadConfig(),), vocabulary_size=5)
    time, bands, channels = 5, 3, 2  # of 10 frames and 6 mels
    convolutions = time * bands * (9 * channels + 9 * channels * channels)
    cell = time * bands * 4 * channels * 3 * 2 * channels
    after = time * bands * channels * channels + time * bands * channels * 3 + time * 3 * 5
    assert multiply_adds(model, torch.zeros(1, 10, 6), torch.tensor([10])) == convolutions + cell + after


@pytest.mark.parametrize("task", TASKS, ids=lambda task: task.name)
def test_a_probe_scores_nothing_remembered_with_one_and_all_with_nought(task, generator) -> None:
    inputs, targets = task.batch(20, 4000, generator)
    assert inputs.shape[2] == task.num_inputs
    if task.name == "adding problem":
        assert not inputs[:, 10:, 1].any()  # nothing is marked in the second half
        assert (inputs[:, :, 1].sum(dim=1) == 2).all()
        knowing, guessing = targets[:, None, None], torch.ones(4000, 1, 1)
    else:
        assert (inputs[:, :10].argmax(dim=-1) == targets).all()
        assert (inputs[:, 10:].argmax(dim=-1) >= 8).all()  # blanks and the mark
        knowing = torch.nn.functional.one_hot(targets, 8).float()
        guessing = torch.zeros(4000, 10, 8)
    nothing = task.error_of_nothing(targets)
    assert task.error(knowing, targets) == pytest.approx(0.0, abs=1e-6)
    assert task.error(guessing, targets) == pytest.approx(nothing, rel=0.03)


def test_the_gradient_of_a_network_that_halves_falls_by_half_a_step() -> None:
    """h[t] = relu(x[t] + h[t-1] / 2) with positive inputs: exactly 2^-k comes back over k steps."""
    config = LongLagConfig(cells=(RNNConfig(),), lags=(4, 24))
    model = LagModel(RNNConfig(hidden_size=16, nonlinearity="relu"), TASKS[0])
    with torch.no_grad():
        model.embedding.weight.zero_()
        model.embedding.bias.fill_(1.0)
        model.cell.input_weight.copy_(torch.eye(16))
        model.cell.recurrent_weight.copy_(torch.eye(16) / 2)
    norms = gradient_norms(model, TASKS[0], 24, config)
    assert [k for k, _ in norms][:3] == [0, 1, 2]
    assert norms[-1][0] == 23
    assert [norm for _, norm in norms] == pytest.approx([2.0**-k for k, _ in norms], rel=1e-5)


def test_the_probes_cells_are_of_one_size() -> None:
    config = LongLagConfig()
    for cell in config.cells:
        built = fit_cell(cell, 20_000).build(16)
        assert abs(sum(p.numel() for p in built.parameters() if p.requires_grad) / 20_000 - 1) < 0.03, cell.kind
    assert fit_cell(ConvLSTMConfig(num_bands=4, kernel_size=1), 2000).num_bands == 4
    assert config.quick().lags == (10, 30, 100)
    assert LongLagConfig(lags=(200, 300)).quick().lags == (200,)


def test_the_probe_goes_on_where_it_was(comparison_file: Path, capsys, monkeypatch) -> None:
    pytest.importorskip("matplotlib")
    assert main([str(comparison_file), "--probe", "long_lag"]) == 0
    folder = comparison_file.parent / "run" / "long_lag"
    first = (folder / "results.jsonl").read_text()
    assert len(first.splitlines()) == 2 * 2 * 2  # lags, tasks, cells
    report = (folder / "report.md").read_text()
    assert "| rnn |" in report
    assert (folder / "scores.svg").read_text().startswith("<svg")
    assert (folder / "report.html").read_text().count("<svg") == 2
    # A line that a kill cut short is made again, the same; all others are kept.
    (folder / "results.jsonl").write_text(first[:-40])
    lines = first.splitlines()
    config = load_section(comparison_file, ComparisonConfig).long_lag
    found = list(run_probe(config, folder / "results.jsonl"))
    assert [result.score for result in found] == [json.loads(line)["score"] for line in lines]
    assert {result.cell for result in found} == {"rnn", "lstm"}
    assert (folder / "results.jsonl").read_text() == first
    other = config.model_copy(update={"cells": (LSTMConfig(),), "num_steps": 1, "lags": (4,)})
    assert len(list(run_probe(other, folder / "results.jsonl"))) == 2
    assert len((folder / "results.jsonl").read_text().splitlines()) > len(lines)
