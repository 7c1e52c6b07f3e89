"""The recogniser: batches change nothing, a run folder that does not fit together is refused."""

import json
from dataclasses import FrozenInstanceError, replace
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from safetensors.torch import load_file, save_file

from asr.audio.reading import AudioError, read_audio
from asr.audio.stretch import Stretch
from asr.config.recognizer import load_config
from asr.data.features import FeatureConfig
from asr.data.statistics import FeatureStatistics
from asr.decoding.ctc_greedy import CTCGreedyConfig
from asr.decoding.evidence import EvidenceConfig
from asr.decoding.hypothesis import Hypothesis
from asr.recognition.confidence import WordCalibration, save_calibration
from asr.recognition.listening import Heard
from asr.recognizer import MAX_BATCH_SECONDS, Recognizer, RecognizerError, _batches
from asr.runs.folder import RunFolder
from asr.text import BLANK_ID, CharTokenizerConfig
from asr.transcript import Transcript, Word
from tests.support.small_run import (
    SENTENCEPIECE,
    small_config,
    small_model,
    some_speech,
    write_recordings,
    write_small_run,
)

DURATIONS = [0.7, 2.9, 0.01, 1.3, 0.31, 1.9, 1.3]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    return write_small_run(tmp_path_factory.mktemp("runs") / "small")


@pytest.fixture(scope="module")
def recognizer(run: RunFolder) -> Recognizer:
    return Recognizer.load(run.path)


@pytest.fixture
def copy(run: RunFolder, tmp_path: Path) -> RunFolder:
    """The run folder, to damage."""
    import shutil

    return RunFolder(Path(shutil.copytree(run.path, tmp_path / "copy")))


@pytest.fixture(scope="module")
def recordings(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    return write_recordings(tmp_path_factory.mktemp("recordings"), DURATIONS)


def test_alone_or_in_any_batch_and_order_the_transcripts_are_the_same(
    recognizer: Recognizer, recordings: list[Path]
) -> None:
    alone = [recognizer.transcribe(path) for path in recordings]
    assert len({transcription.text for transcription in alone}) == len(recordings)
    for order in ([0, 1, 2, 3, 4, 5, 6], [6, 2, 4, 0, 5, 1, 3]):
        for batch_size in (1, 2, 3, 32):
            found = recognizer.transcribe_batch([recordings[index] for index in order], batch_size=batch_size)
            for index, transcription in zip(order, found, strict=True):
                assert (transcription.text, transcription.tokens) == (alone[index].text, alone[index].tokens)
                assert transcription.words == alone[index].words
                assert transcription.score == pytest.approx(alone[index].score, abs=1e-3, rel=1e-5)


def test_real_recordings_are_transcribed_the_same_beside_others(recognizer: Recognizer, shared_data: Path) -> None:
    paths = sorted((shared_data / "barista" / "dev").glob("*.flac"))[:5]
    paths += sorted((shared_data / "speechocean762").rglob("*.opus"))[:5]
    paths += sorted((shared_data / "librispeech_other100").rglob("*.flac"))[:2]
    assert len(paths) == 12
    alone = [recognizer.transcribe(path).tokens for path in paths]
    assert [found.tokens for found in recognizer.transcribe_batch(paths)] == alone
    assert [found.tokens for found in recognizer.transcribe_batch(paths[::-1], batch_size=5)] == alone[::-1]


def test_log_probabilities_do_not_depend_on_a_long_neighbour(recognizer: Recognizer) -> None:
    short, long = (recognizer.features(some_speech(seed, d), sample_rate=16_000) for seed, d in ((1, 0.8), (2, 9.0)))

    def log_probs(*features: torch.Tensor) -> torch.Tensor:
        padded = torch.nn.utils.rnn.pad_sequence(list(features), batch_first=True)
        with torch.inference_mode():
            encodings, lengths = recognizer.model.encode(padded, torch.tensor([len(frames) for frames in features]))
            return recognizer.model.heads[0](encodings)[0, : lengths[0]]

    torch.testing.assert_close(log_probs(short), log_probs(short, long), atol=1e-5, rtol=1e-5)


def test_an_array_and_its_file_give_the_same(recognizer: Recognizer, recordings: list[Path]) -> None:
    samples = read_audio(recordings[1], sample_rate=None)
    assert recognizer.transcribe(samples, sample_rate=16_000) == recognizer.transcribe(str(recordings[1]))
    assert recognizer.transcribe(samples.astype(np.float64), sample_rate=16_000).text


def test_arrays_of_another_rate_are_resampled(recognizer: Recognizer) -> None:
    samples = some_speech(5, 2.0)
    fast = recognizer.features(np.repeat(samples, 3), sample_rate=48_000)
    assert abs(len(fast) - len(recognizer.features(samples, sample_rate=16_000))) <= 1


def test_live_objects_make_a_recognizer_and_the_model_keeps_its_mode() -> None:
    config = small_config(features=FeatureConfig(num_mels=20))
    tokenizer = CharTokenizerConfig().train(["abc de"])
    model = small_model(config, tokenizer.vocabulary_size).train()
    recognizer = Recognizer(
        model=model, tokenizer=tokenizer, feature_config=config.features, decoding=CTCGreedyConfig().build()
    )
    log_mels = recognizer.log_mels(some_speech(1), sample_rate=16_000)
    first, second = recognizer.recognize([log_mels, log_mels])
    assert first.text
    assert (first.text, first.tokens) == (second.text, second.tokens)  # dropout would tell them apart
    assert model.training


@pytest.mark.parametrize("config", [CharTokenizerConfig(), SENTENCEPIECE], ids=["char", "sentencepiece"])
def test_words_are_those_of_the_text_in_order(config, tmp_path: Path) -> None:
    recognizer = Recognizer.load(write_small_run(tmp_path / "run", tokenizer=config).path)
    (transcript,) = recognizer.transcripts([some_speech(4, 3.0)])
    assert transcript.pred_text == recognizer.transcribe(some_speech(4, 3.0), sample_rate=16_000).text
    assert " ".join(word.word for word in transcript.words) == transcript.pred_text
    assert len(transcript.words) > 1
    edges = [edge for word in transcript.words for edge in (word.start, word.end)]
    assert edges == sorted(edges)
    assert edges[0] >= 0
    assert edges[-1] <= transcript.duration == 3.0
    assert all(0 < word.confidence <= 1 for word in transcript.words)
    mean = sum(word.confidence for word in transcript.words) / len(transcript.words)
    assert transcript.confidence == pytest.approx(mean, abs=1e-4)
    assert Transcript.from_dict(json.loads(json.dumps(transcript.to_dict()))) == transcript


def test_a_word_lasts_as_long_as_its_tokens_are_shown_and_what_is_loud(recognizer: Recognizer) -> None:
    tokens = tuple(recognizer.tokenizer.encode(" to  go"))
    size = recognizer.tokenizer.vocabulary_size
    scores = torch.full((40, size), -20.0)
    scores[:, BLANK_ID] = -1.0
    for token, frame in zip(tokens, (0, 5, 6, 7, 9, 20, 21), strict=True):
        scores[frame, token] = -0.2
    features = torch.zeros(160, 20)
    features[72:110] = 1.0
    lengths = torch.tensor([160])
    heard = Heard([features], [0], features[None], lengths, torch.zeros(1, 40, 8), lengths // 4, [scores])
    transcription = recognizer._transcription(heard, 0, Hypothesis(tokens, (), score=-1.0))
    # 4 log-mel frames of 10 ms to an encoding; "to" is shown where it is quiet, "go" reaches over what is loud
    assert transcription.words == (Word("to", 0.2, 0.28, 0.8187), Word("go", 0.72, 1.1, 0.8187))
    calibrated = WordCalibration(0.5, -1.0, num_words=7)
    later = replace(heard, first_frames=[50])
    again = recognizer.with_calibration(calibrated)._transcription(later, 0, Hypothesis(tokens, (), score=-1.0))
    assert [word.start for word in again.words] == [0.7, 1.22]
    assert [word.confidence for word in again.words] == [round(calibrated.confidence(np.exp(-0.2)), 4)] * 2


def test_a_calibration_in_the_run_folder_is_used(copy: RunFolder) -> None:
    model = copy.read_record()["model"]
    assert Recognizer.load(copy.path).calibration == WordCalibration()
    calibration = WordCalibration(0.5, -1.0, num_words=7)
    save_calibration(copy.path, calibration, decoding='{"kind": "ctc_greedy"}', model=model)
    assert Recognizer.load(copy.path).calibration == calibration


def test_nothing_to_transcribe_is_nothing(recognizer: Recognizer) -> None:
    assert recognizer.transcribe_batch([]) == []
    assert list(recognizer.transcribe_stretches([], [])) == []


def test_a_stretch_is_the_same_as_its_own_file(recognizer: Recognizer, tmp_path: Path) -> None:
    from asr.audio.reading import write_audio

    samples = some_speech(9, 3.0)
    write_audio(tmp_path / "whole.wav", samples, sample_rate=16_000)
    write_audio(tmp_path / "part.wav", samples[16_000:32_000], sample_rate=16_000)
    stretch = Stretch(str(tmp_path / "whole.wav"), offset=1.0, duration=1.0)
    (outcome,) = recognizer.transcribe_stretches([stretch], [1.0])
    assert outcome.transcription == recognizer.transcribe(tmp_path / "part.wav")


def test_broken_files_are_named_and_the_rest_transcribed(
    recognizer: Recognizer, recordings: list[Path], tmp_path: Path
) -> None:
    (tmp_path / "broken.wav").write_bytes(b"RIFF....")
    paths = [recordings[0], tmp_path / "broken.wav", recordings[1], tmp_path / "absent.wav"]
    stretches = [Stretch(str(path)) for path in paths]
    outcomes = {
        outcome.index: outcome
        for outcome in recognizer.transcribe_stretches(stretches, [1.0, 0.0, 3.0, 0.0], batch_size=1)
    }
    assert outcomes[0].transcription == recognizer.transcribe(recordings[0])
    assert outcomes[2].transcription == recognizer.transcribe(recordings[1])
    assert "broken.wav" in str(outcomes[1].error)
    assert "absent.wav" in str(outcomes[3].error)
    with pytest.raises(AudioError, match=r"absent\.wav"):
        recognizer.transcribe_batch([recordings[0], tmp_path / "absent.wav"])


def test_a_recognizer_is_whole_and_stays_as_it_was_made(recognizer: Recognizer) -> None:
    with pytest.raises(FrozenInstanceError, match="calibration"):
        recognizer.calibration = WordCalibration(0.5, -1.0, num_words=7)  # type: ignore[misc]
    before, calibrated = recognizer.calibration, WordCalibration(0.5, -1.0, num_words=7)
    other = recognizer.with_calibration(calibrated)
    assert (other.calibration, recognizer.calibration) == (calibrated, before)
    assert (other.model, other.decoding_key) == (recognizer.model, recognizer.decoding_key)


def test_batches_are_longest_first_and_bounded() -> None:
    assert list(_batches([1.0, 3.0, 2.0, 3.0], 3)) == [[1, 3, 2], [0]]
    third = MAX_BATCH_SECONDS / 3
    assert list(_batches([third, third, third, third, 10_000.0], 99)) == [[4], [0, 1, 2], [3]]


def test_global_normalization_uses_the_statistics_of_the_run(tmp_path: Path, recordings: list[Path]) -> None:
    features = FeatureConfig(num_mels=20, normalization="global")
    folder = write_small_run(tmp_path / "run", features=features)
    recognizer = Recognizer.load(folder.path)
    raw = Recognizer.load(
        write_small_run(tmp_path / "raw", features=FeatureConfig(num_mels=20, normalization="none")).path
    )
    torch.testing.assert_close(recognizer.features(recordings[0]), (raw.features(recordings[0]) + 8.0) / 2.0)
    FeatureStatistics(torch.zeros(20), torch.ones(20)).save(folder.statistics_path)
    with pytest.raises(RecognizerError, match=r"feature_statistics\.safetensors: its SHA-256 is .*; expected"):
        Recognizer.load(folder.path)
    folder.statistics_path.unlink()
    with pytest.raises(FileNotFoundError, match="feature_statistics"):
        Recognizer.load(folder.path)


@pytest.mark.parametrize(
    ("samples", "sample_rate", "message"),
    [
        (np.zeros(100, np.float32), None, "no sample rate"),
        (np.zeros((100, 2), np.float32), 16_000, r"an array of float32 \[100, 2\]"),
        (np.zeros(100, np.int16), 16_000, r"an array of int16 .*divide by 32768"),
        (np.zeros(0, np.float32), 16_000, "at least one"),
        (np.full(100, np.nan, np.float32), 16_000, "NaN or infinite"),
    ],
)
def test_unsound_arrays_are_refused(recognizer: Recognizer, samples, sample_rate, message: str) -> None:
    with pytest.raises(RecognizerError, match=message):
        recognizer.transcribe(samples, sample_rate=sample_rate)


def test_a_batch_size_of_nothing_is_refused(recognizer: Recognizer, recordings: list[Path]) -> None:
    with pytest.raises(RecognizerError, match="batch_size: 0; expected at least 1"):
        recognizer.transcribe_batch(recordings, batch_size=0)


def test_loading_draws_nothing_from_the_caller_s_generator(run: RunFolder) -> None:
    before = torch.random.get_rng_state()
    Recognizer.load(run.path)
    assert torch.equal(before, torch.random.get_rng_state())


def test_a_folder_that_is_no_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RecognizerError, match=r"no config\.yaml in it; expected a run folder"):
        Recognizer.load(tmp_path)


def test_a_run_without_weights_yet_is_refused(copy: RunFolder) -> None:
    copy.model_path.unlink()
    with pytest.raises(RecognizerError, match=r"model\.safetensors: no such file; the training has not finished"):
        Recognizer.load(copy.path)


def test_changed_weights_are_refused(copy: RunFolder) -> None:
    weights = load_file(copy.model_path)
    next(iter(weights.values())).view(-1)[0] += 1
    save_file(weights, copy.model_path)
    with pytest.raises(RecognizerError, match=r"model\.safetensors: its SHA-256 is \w+; expected \w{64} as run"):
        Recognizer.load(copy.path)


def test_another_tokenizer_is_refused(copy: RunFolder) -> None:
    CharTokenizerConfig().train(["other text"]).save(copy.tokenizer_path)
    with pytest.raises(RecognizerError, match=r"tokenizer: its SHA-256 is .*of another run"):
        Recognizer.load(copy.path)


def change_config(folder: RunFolder, section: str, key: str, value: object) -> None:
    config = yaml.safe_load(folder.config_path.read_text())
    config[section][key] = value
    folder.config_path.write_text(yaml.safe_dump(config))


def test_other_feature_settings_are_refused_with_the_difference(copy: RunFolder) -> None:
    change_config(copy, "features", "window_ms", 20.0)
    with pytest.raises(RecognizerError, match=r"not those of the training.*\n  window_ms: found 20.0; expected 25.0\n"):
        Recognizer.load(copy.path)


def test_a_run_that_does_not_say_its_features_is_refused(copy: RunFolder) -> None:
    record = json.loads(copy.record_path.read_text())
    del record["features"]
    copy.record_path.write_text(json.dumps(record))
    with pytest.raises(RecognizerError, match=r"hop_ms: found 10.0; expected nothing"):
        Recognizer.load(copy.path)


def test_weights_of_another_model_are_refused_with_the_difference(copy: RunFolder) -> None:
    change_config(copy, "encoder", "num_layers", 1)
    with pytest.raises(RecognizerError, match=r"not the weights of the model.*\n  encoder\.layers\.1\..*expected"):
        Recognizer.load(copy.path)


@pytest.mark.parametrize("num_samples", [1, 10, 399, 400, 800])
def test_a_click_is_no_word(copy: RunFolder, num_samples: int) -> None:
    """The model finds some in each; a recording of under 60 ms has none, whatever is beside it."""
    recognizer = Recognizer.load(copy.path)
    click, speech = some_speech(4, 1.0)[:num_samples], some_speech(4, 3.0)
    alone = recognizer.transcribe(click, sample_rate=16_000)
    assert (alone.text, alone.tokens, alone.words, alone.confidence) == ("", (), (), 0.0)
    beside = recognizer.transcripts([speech, click])
    assert [bool(each.pred_text) for each in beside] == [True, False]
    eager = replace(recognizer, evidence=EvidenceConfig(shortest=0.0))
    assert eager.transcribe(click, sample_rate=16_000).text


def test_words_of_which_none_is_sure_are_not_written(copy: RunFolder) -> None:
    found = Recognizer.load(copy.path).transcribe(some_speech(4, 3.0), sample_rate=16_000)
    surest = max(word.confidence for word in found.words)
    config = load_config(copy.path / "config.yaml").model_dump(mode="json")
    for least, words in ((surest, found.words), (surest + 1e-4, ())):
        config["evidence"]["surest_word"] = least
        (copy.path / "config.yaml").write_text(yaml.safe_dump(config))
        again = Recognizer.load(copy.path).transcribe(some_speech(4, 3.0), sample_rate=16_000)
        assert again.words == words
        assert bool(again.text) == bool(words)
