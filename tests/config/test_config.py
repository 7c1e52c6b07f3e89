"""Configuration files: what is refused, how it is said, and that a config survives being written and read."""

from pathlib import Path

import pytest

from asr.config.language_model import load_experiment
from asr.config.reading import ConfigError, read_yaml
from asr.config.recognizer import load_config


def faulty(tone_config: Path, before: str, after: str) -> Path:
    text = tone_config.read_text()
    assert before in text
    tone_config.write_text(text.replace(before, after))
    return tone_config


def test_a_config_reads_back_as_itself(tone_config: Path, tmp_path: Path) -> None:
    config = load_config(tone_config)
    copy = tmp_path / "copy.yaml"
    copy.write_text(config.to_yaml())
    assert load_config(copy) == config


def test_defaults_are_filled_in_and_the_run_folder_is_named_after_the_file(tone_config: Path) -> None:
    config = load_config(tone_config)
    assert config.run_dir == "runs/tones"
    assert config.heads[0].kind == "ctc"
    assert config.encoder.bidirectional is True


def test_overrides_are_dotted_and_checked_like_the_file(tone_config: Path) -> None:
    config = load_config(
        tone_config,
        [
            "optim.learning_rate=1e-3",
            "encoder.cell.hidden_size=12",
            "data.train.0.weight=0.5",
            "heads=[{kind: ctc, weight: 2.0}]",
        ],
    )
    assert config.optim.learning_rate == 1e-3
    assert config.encoder.cell.hidden_size == 12
    assert config.data.train[0].weight == 0.5
    assert config.heads[0].weight == 2.0


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("optim.learning_rate", "not an override; expected key=value"),
        ("=3", "not an override"),
        ("optim.learning_rate=[", "the value is not valid YAML"),
        ("seed.deep=1", "'seed' is 7, not a section"),
        ("data.train.5.weight=1.0", "'5' is no position of the list; expected 0 to 0"),
        ("data.train.x.weight=1.0", "'x' is no position of the list"),
        ("encoder.num_layer=2", "encoder.num_layer: unknown key; did you mean 'num_layers'?"),
        ("encoder.cell.hidden=2", "encoder.cell.hidden: unknown key; did you mean 'hidden_size'?"),
        ("zzz=1", "zzz: unknown key; expected one of augment, data, "),
        ("encoder.num_layers=0", "encoder.num_layers: found 0; input should be greater than or equal to 1"),
        ("encoder.num_layers='2'", "encoder.num_layers: found '2'; input should be a valid integer"),
        ("data.train=[]", "data.train: found \\[\\]"),
        ("heads=[{kind: ctcc}]", "heads.0.kind: found 'ctcc'"),
        ("encoder.subsampling.factor=3", "encoder.subsampling.factor: found 3"),
    ],
)
def test_a_faulty_override_is_refused_by_its_path(tone_config: Path, override: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        load_config(tone_config, [override])


def test_all_faults_are_shown_at_once(tone_config: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        load_config(tone_config, ["encoder.num_layer=2", "optim.clip=1.0", "data.dev={}"])
    lines = str(caught.value).splitlines()
    assert len(lines) == 3
    assert all(line.startswith(f"{tone_config}: ") for line in lines)
    assert any("data.dev.manifest: missing; this key is required" in line for line in lines)


@pytest.mark.parametrize(
    ("before", "after", "message"),
    [
        ("seed: 7", "seed: 7\nseed: 8", "line 3: seed: the key 'seed' is there twice"),
        ("seed: 7", "seed: [", "not a valid YAML file"),
        ("seed: 7", "seed: !!python/object/apply:os.system [ls]", "not a valid YAML file"),
    ],
)
def test_yaml_that_misleads_or_runs_code_is_refused(tone_config: Path, before: str, after: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        load_config(faulty(tone_config, before, after))


def test_a_number_in_exponent_form_is_a_number(tone_config: Path) -> None:
    config = load_config(faulty(tone_config, "learning_rate: 0.02", "learning_rate: 2e-2"))
    assert config.optim.learning_rate == 0.02


def test_a_missing_file_and_a_file_without_sections_are_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"none\.yaml: no such file"):
        load_config(tmp_path / "none.yaml")
    (tmp_path / "list.yaml").write_text("- a\n- b\n")
    with pytest.raises(ConfigError, match=r"list\.yaml: found list; expected sections"):
        load_config(tmp_path / "list.yaml")
    with pytest.raises(ConfigError, match="kind: found 'ngram'; expected the configuration of a recogniser"):
        load_config("conf/lm_ngram.yaml")


def test_sections_that_contradict_each_other_are_refused(tone_config: Path) -> None:
    with pytest.raises(ConfigError, match=r"'gain' changes the samples, but data.train.0.shards gives stored log-mels"):
        load_config(tone_config, ["data.train.0.shards=here"])
    with pytest.raises(ConfigError, match="'fp16' needs CUDA"):
        load_config(tone_config, ["train.precision=fp16", "train.device=cpu"])


def test_a_config_cannot_be_changed(tone_config: Path) -> None:
    config = load_config(tone_config)
    with pytest.raises(ValueError, match="frozen"):
        config.seed = 3  # type: ignore[misc]


EXPERIMENTS = [path for path in sorted(Path("conf").glob("*.yaml")) if "data" in read_yaml(path.read_text())]


@pytest.mark.parametrize("path", EXPERIMENTS, ids=lambda path: path.stem)
def test_every_conf_is_valid_short_and_says_how_to_prepare_its_data(path: Path) -> None:
    config = load_experiment(path)
    assert len(path.read_text().splitlines()) <= 60
    assert config.data.prepare, f"{path}: data.prepare is missing"
