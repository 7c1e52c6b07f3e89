"""Several views of an utterance in one step: augmented each in its own way, with the words at the same times."""

from pathlib import Path
from typing import get_args

import pytest
import torch
from pydantic import TypeAdapter

from asr.config.recognizer import load_config
from asr.data.augment import MOVING, AugmentationConfig
from asr.data.batches import Batch, StepDataset
from asr.data.features import FeatureConfig
from asr.training.experiment import RecognizerExperiment, build_experiment, train_tokenizer
from asr.training.memory import worst_batch
from tests.data.test_augment import KINDS, example_input, generator

TWO_VIEWS = "heads=[{kind: ctc, consistency_weight: 0.2}]"
MOVED = "{kind: speed}, {kind: silence, probability: 1.0}"


def open_tones(config: Path, *overrides: str) -> RecognizerExperiment:
    loaded = load_config(config, list(overrides))
    return build_experiment(loaded, train_tokenizer(loaded), None)


def step(experiment: RecognizerExperiment, **settings: int) -> list[Batch]:
    return StepDataset(experiment.train, experiment.plan, **settings)[0, 0].batches


def test_a_step_has_each_utterance_twice_with_its_words_at_the_same_times(tone_config: Path) -> None:
    experiment = open_tones(tone_config, TWO_VIEWS, f"augment=[{MOVED}, {{kind: colored_noise, probability: 1.0}}]")
    (batch,) = step(experiment)
    plain = open_tones(tone_config, f"augment=[{MOVED}]")
    (once,) = step(plain)
    half = len(once.ids)
    assert (batch.num_views, once.num_views) == (2, 1)
    assert batch.ids == once.ids * 2
    assert batch.indices == once.indices * 2
    for values in (batch.feature_lengths, batch.token_lengths, batch.tokens):
        assert torch.equal(values[:half], values[half:])
    assert batch.audio_seconds == pytest.approx(once.audio_seconds)
    assert batch.to(torch.device("cpu")).num_views == 2
    differences = (batch.features[:half] - batch.features[half:]).abs().amax(dim=(1, 2))
    assert (differences > 0.1).all()
    moved = open_tones(tone_config, TWO_VIEWS, f"augment=[{MOVED}]")
    (batch,) = step(moved)
    assert torch.equal(batch.features[:half], batch.features[half:])
    assert len(set(batch.feature_lengths.tolist())) > 1


def test_masks_are_drawn_for_each_view(tone_config: Path) -> None:
    (batch,) = step(open_tones(tone_config, TWO_VIEWS, "augment=[{kind: spec_augment}]"))
    first, second = batch.features.chunk(2)
    assert not torch.equal(first, second)
    both = (first != 0) & (second != 0)
    assert torch.equal(first[both], second[both])


def test_views_depend_on_the_epoch_and_on_nothing_else(tone_config: Path) -> None:
    train = open_tones(tone_config, TWO_VIEWS).train
    first = [view.features for view in train.views(3, 1)]
    train.views(2, 1)
    torch.rand(3)
    again = [view.features for view in train.views(3, 1)]
    assert all(torch.equal(*pair) for pair in zip(first, again, strict=True))
    assert not torch.equal(first[0], train.views(3, 2)[0].features)
    assert not torch.equal(first[0], first[1])


def test_one_view_is_the_example(tone_config: Path) -> None:
    train = open_tones(tone_config).train
    (view,) = train.views(3, 1)
    assert torch.equal(view.features, train.example(3, 1).features)


def test_tokens_count_in_each_view_and_every_process(tone_config: Path) -> None:
    two, one = open_tones(tone_config, TWO_VIEWS), open_tones(tone_config)
    whole = StepDataset(one.train, one.plan)[0, 1].num_tokens
    for world_size, accumulation in ((1, 1), (2, 1), (3, 2), (1, 4)):
        for rank in range(world_size):
            steps = StepDataset(two.train, two.plan, rank=rank, world_size=world_size, accumulation=accumulation)
            assert steps[0, 1].num_tokens == 2 * whole


def test_the_worst_batch_has_both_views(tone_config: Path) -> None:
    two, one = (open_tones(tone_config, *words) for words in ([TWO_VIEWS], []))
    doubled, plain = (worst_batch(each, accumulation=1, world_size=1) for each in (two, one))
    assert doubled.ids == plain.ids * 2
    assert doubled.num_views == 2
    assert two.model(*doubled.inputs).shape == (1, len(doubled.ids))


@pytest.mark.parametrize("kind", sorted(set(KINDS) - {"noise", "reverb", "babble"}))
def test_a_kind_that_moves_words_is_named_as_such(kind: str) -> None:
    """A click stays where it was, in as many samples, by every kind but those in MOVING; these keep equal draws."""
    config = TypeAdapter(AugmentationConfig).validate_python({"kind": kind})
    if config.domain == "features":
        assert kind not in MOVING
        return
    changed, inputs = config.build(FeatureConfig()), example_input(config)
    lengths = {changed(inputs, generator(seed)).shape[0] for seed in range(12)}
    assert (lengths != {inputs.shape[0]}) == (kind in MOVING)
    if kind in MOVING:  # what they draw does not depend on the samples
        for seed in range(12):
            states = []
            for samples in (inputs, 3 * inputs.flip(0)):
                state = generator(seed)
                length = changed(samples, state).shape[0]
                states.append((length, state.get_state().tolist()))
            assert states[0] == states[1]


def test_all_that_move_are_kinds() -> None:
    kinds = {config.model_fields["kind"].default for config in get_args(get_args(AugmentationConfig)[0])}
    assert set(MOVING) <= kinds
