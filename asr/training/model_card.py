"""The model card of a run: README.md in its folder, with what it is, what it was made of, and its figures."""

from collections.abc import Mapping
from typing import Any

from asr.data.dataset import Dataset
from asr.runs.checkpoint import write_text
from asr.runs.folder import RunFolder
from asr.training.experiment import RecognizerExperiment

CARD = """# {name}

A speech recogniser trained with Earshot: {encoder} encoder, {heads}, {num_parameters:,} parameters.

| | |
|---|---|
| {wer_name} | {wer:.2%} |
| {cer_name} | {cer:.2%} |
| weights | {weights} |
| training data | {train_manifests}: {num_train:,} utterances, {train_hours:.2f} h |
| dev data | {dev_manifest}: {num_dev:,} utterances, {dev_hours:.2f} h |
| left out of training | {num_dropped} utterances (dropped.jsonl) |
| input | {sample_rate} Hz, {num_mels} {mels} every {hop_ms:g} ms, {normalization} normalisation |
| output | {num_tokens} tokens ({tokenizer}) |

{caution}; score a test split with

    python -m asr.evaluate {path} TEST_MANIFEST

and transcribe recordings with

    python -m asr.transcribe {path} AUDIO_DIR --output transcripts.jsonl

It knows the language of its training data only; on other words, accents, rooms or microphones expect more errors.
"""


CHOSEN = "The dev split chose the weights, so its figures are a little too good"
SEEN = """{number:,} of the {total:,} utterances of the dev data were trained on too: their error rates say how much of
the training is remembered, not how well speech of others is recognised; no dev WER is known"""


def write_model_card(
    run: RunFolder, experiment: RecognizerExperiment, *, figures: Mapping[str, Any], weights: str
) -> None:
    """`figures` holds the dev `wer` and `cer` of the final weights; `weights` says which those are.

    Error rates on dev data that was trained on are called recall of the training, never dev WER.
    """
    config, train = experiment.config, experiment.train
    num_seen, num_dev = count_seen(experiment.train, experiment.dev), len(experiment.dev)
    on = "dev {}" if not num_seen else "recall of the training data ({})"
    card = CARD.format(
        name=run.path.name,
        wer_name=on.format("WER"),
        cer_name=on.format("CER"),
        caution=SEEN.format(number=num_seen, total=num_dev) if num_seen else CHOSEN,
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
        num_dev=num_dev,
        dev_hours=experiment.dev.durations.sum() / 3600,
        num_dropped=len(experiment.dropped),
        sample_rate=config.features.sample_rate,
        num_mels=config.features.num_mels,
        mels="log-mels" if config.features.pcen is None else "mels by PCEN",
        hop_ms=config.features.hop_ms,
        normalization=config.features.normalization,
        num_tokens=experiment.tokenizer.vocabulary_size,
        tokenizer=config.tokenizer.kind,
        path=run.path,
    )
    write_text(run.card_path, card)


def count_seen(train: Dataset, dev: Dataset) -> int:
    """Returns how many utterances of the dev data share speech with the training data.

    Copies under other names, such as those with noise, are not found.
    """
    stretches: dict[str, list[tuple[float, float]]] = {}
    held = [dev.utterance(index) for index in range(len(dev))]
    names = {item.audio_filepath for item in held}
    for item in map(train.utterance, range(len(train))):
        if item.audio_filepath in names:
            stretches.setdefault(item.audio_filepath, []).append((item.offset, item.offset + item.duration))
    return sum(
        any(item.offset < end and start < item.offset + item.duration for start, end in stretches[item.audio_filepath])
        for item in held
        if item.audio_filepath in stretches
    )


def _describe_encoder(encoder: Mapping[str, Any]) -> str:
    """{"kind": "recurrent", "num_layers": 3, "cell": {"kind": "lstm", ...}, ...} -> "3-layer bidirectional lstm"."""
    cell, layers = encoder.get("cell", {}).get("kind", encoder["kind"]), encoder.get("num_layers")
    direction = "bidirectional " if encoder.get("bidirectional") else ""
    described = f"{layers}-layer {direction}{cell}" if layers else f"{direction}{cell}"
    return described if encoder["kind"] == "recurrent" else f"{encoder['kind']} with {described}"
