"""Data sets: sources weighed and mixed, utterances augmented by epoch, noises without a transcript, seeds."""

from pathlib import Path

import numpy as np
import pytest
import torch

from asr.config.recognizer import load_config
from asr.data.batches import StepDataset
from asr.data.dataset import mix_seed
from asr.data.manifest import Manifest, Utterance
from asr.data.manifest_writing import write_manifest
from asr.text import BLANK_ID
from asr.training.experiment import RecognizerExperiment, build_experiment, train_tokenizer


def test_a_mix_of_corpora_is_as_the_configuration_weighs_it(tone_config: Path, tone_corpus: Path) -> None:
    """Synthetic commands twice, some real speech half as often: by the utterances that an epoch visits."""
    sources = (
        f"[{{manifest: {tone_corpus}/train.jsonl, weight: 2}}, {{manifest: {tone_corpus}/dev.jsonl, weight: 0.5}}]"
    )
    config = load_config(tone_config, [f"data.train={sources}"])
    experiment = build_experiment(config, train_tokenizer(config), None)
    texts = [list(Manifest.read(tone_corpus / f"{split}.jsonl").texts()) for split in ("train", "dev")]
    assert list(experiment.train.texts()) == texts[0] + texts[1]
    num_first, num_second = map(len, texts)
    visits = np.concatenate([np.concatenate(experiment.plan.epoch(epoch)) for epoch in range(20)])
    counts = np.bincount(visits, minlength=num_first + num_second) / 20
    assert (counts[:num_first] == 2).all()
    assert counts[num_first:].mean() == pytest.approx(0.5, abs=0.2)


def test_augmentation_depends_on_the_epoch_and_on_nothing_else(experiment: RecognizerExperiment) -> None:
    train = experiment.train
    assert torch.equal(train.example(3, epoch=1).features, train.example(3, epoch=1).features)
    assert not torch.equal(train.example(3, epoch=1).features, train.example(3, epoch=2).features)
    assert not torch.equal(train.example(3, epoch=1).features, train.example(3).features)
    train.example(5, epoch=4)
    torch.rand(3)
    assert torch.equal(
        train.example(3, epoch=1).features, StepDataset(train, experiment.plan).dataset.example(3, 1).features
    )


def test_a_copy_too_fast_for_its_tokens_is_read_at_its_own_speed(tone_config: Path) -> None:
    config = load_config(tone_config, ["augment=[{kind: speed, factors: [2.0]}]"])
    train = build_experiment(config, train_tokenizer(config), None).train
    plain, fast = train.example(0), train.example(0, epoch=0)
    assert len(fast.features) < 0.6 * len(plain.features)
    fitted = train.holding(np.full(len(train), len(plain.features)))
    assert len(fitted.example(0, epoch=0).features) == len(plain.features)


def test_noises_are_learnt_as_empty_transcripts(tone_config: Path, tone_corpus: Path, tmp_path: Path) -> None:
    speech = list(Manifest.read(tone_corpus / "dev.jsonl"))
    noises = [Utterance(f"noise-{item.id}", item.audio_filepath, item.duration) for item in speech[:3]]
    write_manifest(tmp_path / "noises.jsonl", [*noises, speech[3]])
    noise = f"{{manifest: {tmp_path / 'noises.jsonl'}, without_speech: true}}"
    mixed = load_config(tone_config, [f"data.train=[{{manifest: {tone_corpus / 'train.jsonl'}}}, {noise}]"])
    experiment = build_experiment(mixed, train_tokenizer(mixed), None)
    said = f"its source is without_speech, but its transcript is {speech[3].text!r}"
    assert [(item.id, item.reason) for item in experiment.dropped] == [(speech[3].id, said)]
    alone = load_config(tone_config, [f"data.train=[{noise}]", f"data.dev.manifest={tone_corpus / 'train.jsonl'}"])
    experiment = build_experiment(alone, train_tokenizer(mixed), None)
    step = StepDataset(experiment.train, experiment.plan)[0, 0]
    assert (step.num_tokens, step.batches[0].token_lengths.tolist()) == (3, [0, 0, 0])
    batch = step.batches[0]
    encodings, lengths = experiment.model.encode(batch.features, batch.feature_lengths)
    loss = experiment.model.heads[0].loss(encodings, lengths, batch.tokens, batch.token_lengths)
    blank = experiment.model.heads[0](encodings)[:, :, BLANK_ID]
    expected = [-blank[row, :length].sum() for row, length in enumerate(lengths.tolist())]
    torch.testing.assert_close(loss, torch.stack(expected))


def test_seeds_of_neighbours_are_unrelated() -> None:
    seeds = {mix_seed(seed, epoch, index) for seed in range(4) for epoch in range(4) for index in range(50)}
    assert len(seeds) == 800
    assert all(0 <= seed < 2**63 for seed in seeds)
