"""A recording heard twice: where its speech begins and ends, and what the second look makes of it alone."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
import yaml

from asr.config.reading import ConfigError
from asr.config.recognizer import load_config
from asr.decoding.endpointing import EndpointingConfig
from asr.recognizer import Recognizer
from asr.runs.folder import RunFolder
from asr.text import BLANK_ID
from tests.support.small_run import some_speech, write_small_run


def scores_of(spoken: list[int], *, num_encodings: int = 25) -> torch.Tensor:
    scores = torch.full((num_encodings, 6), -5.0)
    scores[:, BLANK_ID] = -0.1
    for place in spoken:
        scores[place, 5] = 0.0
    return scores


@pytest.mark.parametrize(
    ("spoken", "margin", "expected"),
    [
        ([10, 14], 0.0, (40, 60)),
        ([10, 14], 0.1, (30, 70)),
        ([3], 0.3, (0, 46)),  # no further than the recording
        ([20, 24], 0.3, (50, 98)),
        ([], 0.3, (0, 98)),  # nothing heard: all of it
    ],
)
def test_speech_is_from_the_first_token_to_the_last(
    spoken: list[int], margin: float, expected: tuple[int, int]
) -> None:
    found = EndpointingConfig(margin=margin).endpoints(
        scores_of(spoken), num_frames=98, frames_per_encoding=4.0, frames_per_second=100.0
    )
    assert found == expected


def test_where_both_looks_count_the_second_begins_with_an_encoding() -> None:
    both = EndpointingConfig(margin=0.1, first_look=0.5)
    for place in (6, 10):
        first, _ = both.endpoints(scores_of([place]), num_frames=98, frames_per_encoding=4.0, frames_per_second=100.0)
        assert first == (4 * place - 10) // 4 * 4


def test_both_looks_are_the_mean_of_their_logarithms() -> None:
    torch.manual_seed(0)
    first, second = torch.randn(10, 6).log_softmax(1), torch.randn(4, 6).log_softmax(1)
    both = EndpointingConfig(first_look=0.25).combined(first, second, start=3)
    torch.testing.assert_close(both, (0.25 * first[3:7] + 0.75 * second).log_softmax(1))
    torch.testing.assert_close(both.exp().sum(1), torch.ones(4))
    # Of nothing, or of less than the second look has, nothing can be made.
    assert EndpointingConfig(first_look=0.25).combined(first, second, start=8) is second
    assert EndpointingConfig().combined(first, second, start=3) is second


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    return write_small_run(tmp_path_factory.mktemp("endpointing") / "run")


def recognizer_of(run: RunFolder, margin: float | None) -> Recognizer:
    recognizer = Recognizer.load(run.path)
    return replace(recognizer, endpointing=None if margin is None else EndpointingConfig(margin=margin))


def test_the_second_look_is_that_of_the_cut_recording(run: RunFolder) -> None:
    recognizer = recognizer_of(run, 0.1)
    log_mels = recognizer.log_mels(some_speech(3, 2.0), sample_rate=16_000)
    heard = recognizer.listen([log_mels])
    first, last = heard.first_frames[0], heard.first_frames[0] + len(heard.features[0])
    alone = recognizer_of(run, None).listen([log_mels[first:last]])
    torch.testing.assert_close(heard.scores[0], alone.scores[0])
    torch.testing.assert_close(heard.features[0], alone.features[0])


def test_the_first_look_counts_as_much_as_it_is_told_to(run: RunFolder) -> None:
    recognizer = recognizer_of(run, 0.1)
    log_mels = recognizer.log_mels(some_speech(3, 2.0), sample_rate=16_000)
    whole = recognizer_of(run, None).listen([log_mels])
    recognizer = replace(recognizer, endpointing=EndpointingConfig(margin=0.1, first_look=0.5))
    both = recognizer.listen([log_mels])
    first, last = both.first_frames[0], both.first_frames[0] + len(both.features[0])
    alone = recognizer_of(run, None).listen([log_mels[first:last]])
    start = round(first * len(whole.scores[0]) / len(log_mels))
    known = whole.scores[0][start : start + len(alone.scores[0])]
    expected = (0.5 * known + 0.5 * alone.scores[0]).log_softmax(1)
    torch.testing.assert_close(both.scores[0], expected if len(known) == len(expected) else alone.scores[0])


def test_words_keep_their_places_in_the_recording(run: RunFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(EndpointingConfig, "endpoints", lambda self, scores, **_: (100, 280))
    samples = some_speech(3, 3.0)
    words = recognizer_of(run, 0.0).transcribe(samples, sample_rate=16_000).words
    cut = recognizer_of(run, None).transcribe(samples[16_000 : 44_800 + 240], sample_rate=16_000).words
    assert words
    assert [word.word for word in words] == [word.word for word in cut]
    assert [word.start for word in words] == pytest.approx([word.start + 1 for word in cut])


def test_a_neighbour_changes_nothing(run: RunFolder) -> None:
    recognizer = recognizer_of(run, 0.2)
    recordings = [some_speech(seed, seconds) for seed, seconds in ((1, 0.7), (2, 3.0), (3, 1.9))]
    log_mels = [recognizer.log_mels(samples, sample_rate=16_000) for samples in recordings]
    together = recognizer.listen(log_mels)
    for row, each in enumerate(log_mels):
        alone = recognizer.listen([each])
        assert alone.first_frames == together.first_frames[row : row + 1]
        torch.testing.assert_close(alone.scores[0], together.scores[row], atol=1e-5, rtol=1e-5)


def test_it_is_a_setting_of_the_run_and_calibrations_know(tmp_path: Path) -> None:
    run = write_small_run(tmp_path / "run")
    before, key = run.search_digest(), Recognizer.load(run.path).decoding_key
    values = yaml.safe_load(run.config_path.read_text())
    assert values["endpointing"] is None
    run.config_path.write_text(yaml.safe_dump({**values, "endpointing": {"margin": 0.25}}))
    recognizer = Recognizer.load(run.path)
    assert recognizer.endpointing == EndpointingConfig(margin=0.25)
    assert run.search_digest() == f"{before} endpointing 0.25"
    run.config_path.write_text(yaml.safe_dump({**values, "endpointing": {"margin": 0.25, "first_look": 0.5}}))
    assert run.search_digest() == f"{before} endpointing 0.25 first_look 0.5"
    assert recognizer.decoding_key != key


def test_without_a_ctc_head_it_is_refused(tmp_path: Path) -> None:
    values = yaml.safe_load(Path("conf/bilstm_attention.yaml").read_text())
    (tmp_path / "x.yaml").write_text(yaml.safe_dump({**values, "endpointing": {}}))
    with pytest.raises(ConfigError, match="endpointing: a CTC head finds the speech; heads has attention: add one"):
        load_config(tmp_path / "x.yaml")
    (tmp_path / "x.yaml").write_text(yaml.safe_dump({**values, "endpointing": {"margin": -1}}))
    with pytest.raises(ConfigError, match=r"endpointing\.margin"):
        load_config(tmp_path / "x.yaml")
