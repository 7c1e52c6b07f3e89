"""The model card of a run: README.md in its folder, with what it is, what it was made of, and its figures."""

from collections.abc import Mapping
from typing import Any

from asr.checkpoint import write_text
from asr.experiment import Experiment
from asr.run import RunFolder

CARD = """# {name}

A speech recogniser trained with Earshot: {encoder} encoder, {heads}, {num_parameters:,} parameters.

| | |
|---|---|
| dev WER | {wer:.2%} |
| dev CER | {cer:.2%} |
| weights | {weights} |
| training data | {train_manifests}: {num_train:,} utterances, {train_hours:.2f} h |
| dev data | {dev_manifest}: {num_dev:,} utterances, {dev_hours:.2f} h |
| left out of training | {num_dropped} utterances (dropped.jsonl) |
| input | {sample_rate} Hz, {num_mels} log-mels every {hop_ms:g} ms, {normalization} normalisation |
| output | {num_tokens} tokens ({tokenizer}) |

The dev split chose the weights, so its figures are a little too good; score a test split with

    python -m asr.evaluate {path} TEST_MANIFEST

and transcribe recordings with

    python -m asr.transcribe {path} AUDIO_DIR --output transcripts.jsonl

It knows the language of its training data only; on other words, accents, rooms or microphones expect more errors.
"""


def write_model_card(run: RunFolder, experiment: Experiment, *, figures: Mapping[str, Any], weights: str) -> None:
    """`figures` holds the dev `wer` and `cer` of the final weights; `weights` says which those are."""
    config, train = experiment.config, experiment.train
    card = CARD.format(
        name=run.path.name,
        encoder=_describe_encoder(config.encoder.model_dump()),
        heads=" and ".join(f"{head.kind} head" for head in config.heads),
        num_parameters=experiment.model.num_parameters,
        wer=figures["wer"],
        cer=figures["cer"],
        weights=weights,
        train_manifests=", ".join(source.manifest for source in config.data.train),
        num_train=len(experiment.plan.usable),
        train_hours=train.durations[experiment.plan.usable].sum() / 3600,
        dev_manifest=config.data.dev.manifest,
        num_dev=len(experiment.dev),
        dev_hours=experiment.dev.durations.sum() / 3600,
        num_dropped=len(experiment.dropped),
        sample_rate=config.features.sample_rate,
        num_mels=config.features.num_mels,
        hop_ms=config.features.hop_ms,
        normalization=config.features.normalization,
        num_tokens=experiment.tokenizer.vocabulary_size,
        tokenizer=config.tokenizer.kind,
        path=run.path,
    )
    write_text(run.card_path, card)


def _describe_encoder(encoder: Mapping[str, Any]) -> str:
    """{"kind": "recurrent", "num_layers": 3, "cell": {"kind": "lstm", ...}, ...} -> "3-layer bidirectional lstm"."""
    cell, layers = encoder.get("cell", {}).get("kind", encoder["kind"]), encoder.get("num_layers")
    direction = "bidirectional " if encoder.get("bidirectional") else ""
    described = f"{layers}-layer {direction}{cell}" if layers else f"{direction}{cell}"
    return described if encoder["kind"] == "recurrent" else f"{encoder['kind']} with {described}"
