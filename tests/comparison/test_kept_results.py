"""What comparisons keep on the disk: a damaged file is named with the remedy, and stays."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

import asr.comparison.trial
from asr.comparison.long_lag import LongLagConfig, LongLagError, run_probe
from asr.comparison.members import ComparisonConfig, plan_members
from asr.comparison.trial import RESULT_FILE, Trial, TrialError, run_trial, trials_of
from asr.config.reading import load_section
from asr.model.cells import LSTMConfig
from tests.support.tones import write_config

COMPARISON = """
run_dir: {folder}/run
base: {folder}/tones.yaml
test: {corpus}/dev.jsonl
num_parameters: 12000
members: [{{name: gru, overrides: ["encoder.cell={{kind: gru}}"]}}]
"""


@pytest.fixture
def comparison(tone_corpus: Path, tmp_path: Path) -> ComparisonConfig:
    write_config(tmp_path / "tones.yaml", tone_corpus)
    (tmp_path / "compare.yaml").write_text(COMPARISON.format(folder=tmp_path, corpus=tone_corpus))
    return load_section(tmp_path / "compare.yaml", ComparisonConfig)


@pytest.fixture
def trial(comparison: ComparisonConfig, tmp_path: Path) -> Trial:
    """One that has a trained model, as far as a look at its folder says."""
    found = replace(trials_of(comparison, plan_members(comparison))[0], path=tmp_path / "trial")
    found.path.mkdir()
    (found.path / "model.safetensors").touch()
    return found


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ('{"key": "a", "score": "low"}', r"results\.jsonl:2: score: found 'low'; .*\n.*gradient_at_start: missing"),
        ("[]", r"results\.jsonl:2: list; expected a JSON object; remove this line, and it is measured again"),
        ('{"key": "a", "key": "b"}', r"results\.jsonl:2: the key 'key' twice"),
    ],
)
def test_a_measured_line_that_is_none_is_named(tmp_path: Path, line: str, message: str) -> None:
    good = '{"key": "a", "score": 1.0, "gradient_at_start": [[0, 1.0]], "gradient_after": []}'
    (tmp_path / "results.jsonl").write_text(f"{good}\n{line}\n")
    config = LongLagConfig(cells=(LSTMConfig(),), lags=(4,), num_parameters=300, num_steps=1)
    with pytest.raises(LongLagError, match=message):
        list(run_probe(config, tmp_path / "results.jsonl"))
    assert (tmp_path / "results.jsonl").read_text() == f"{good}\n{line}\n"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"words": [{"hits": -1}]},
            r"comparison\.json: words\.0\.hits: found -1; [^;]*(; this[^;]*){3}; remove it, and",
        ),
        ({"command": "none"}, r"comparison\.json: command: found 'none'"),
        ({"seconds": None}, r"comparison\.json: seconds: found None"),
        ({"more": 1}, r"comparison\.json: more: found 1; extra inputs are not permitted"),
    ],
)
def test_a_kept_result_that_is_damaged_is_named(
    comparison: ComparisonConfig, trial: Trial, change: dict, message: str
) -> None:
    words = [dict.fromkeys(("hits", "substitutions", "deletions", "insertions"), 1)]
    kept = {"command": [], "test_digest": "x", "words": words, "peak_bytes": 1, "seconds": 1.0, "epoch_seconds": None}
    path = trial.path / RESULT_FILE
    path.write_text(json.dumps(kept | {"dev_curve": [[0, 1.0], [1, float("inf")]]} | change))
    with pytest.raises(TrialError, match=message):
        run_trial(trial, comparison)
    assert path.exists()


def test_a_damaged_line_of_a_trainings_log_is_named(tmp_path: Path) -> None:
    (tmp_path / "metrics.jsonl").write_text('{"a": 1}\n{"a"\n')
    with pytest.raises(TrialError, match=r"metrics\.jsonl:2: not JSON .*; remove this line, which only the report"):
        asr.comparison.trial._lines(tmp_path / "metrics.jsonl")
