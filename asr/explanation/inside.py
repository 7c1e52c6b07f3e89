"""Records a model while it recognises one utterance: scores, attention, gates, and what each word hung on."""

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Float32
from torch import Tensor, nn

from asr.decoding.alignment import (
    TokenSpan,
    WordSpan,
    align_tokens,
    place_tokens,
    reach_out,
    spell_words,
    spread_tokens,
    word_places,
)
from asr.explanation.watching import watch
from asr.model.acoustic import Model
from asr.model.cells import Cell
from asr.model.heads.attention_shape import diagonality, entropy
from asr.model.layers.masking import reverse_within_length
from asr.model.layers.recurrent import RecurrentLayer
from asr.text import Tokenizer


@dataclass(frozen=True)
class WatchedLayer:
    """One direction of one recurrent layer, in the time of the utterance."""

    name: str
    gates: Mapping[str, Float32[np.ndarray, "time unit"]]  # 0 shut, 1 open
    memory: Float32[np.ndarray, "time unit"]  # the cell, or the output of a cell without one


@dataclass(frozen=True)
class AttentionMap:
    """Says where the decoder looked for each token, the mean over its heads; the last step is that of <eos>."""

    weights: Float32[np.ndarray, "step encoding"]
    diagonality: float  # NaN for an empty transcript
    entropy: float


@dataclass(frozen=True)
class Explanation:
    """One utterance. Whatever its time axis has for steps, it spans the whole of the log-mel."""

    features: Float32[np.ndarray, "frame mel"]
    duration: float  # seconds that the log-mel stands for
    tokens: tuple[int, ...]
    pieces: tuple[str, ...]  # the text of every token id
    words: tuple[WordSpan, ...]
    gradients: tuple[Float32[np.ndarray, "frame mel"], ...]  # of each word's log-probability
    posteriors: Float32[np.ndarray, "encoding vocabulary"] | None  # 0 to 1, of the CTC head where there is one
    attention: AttentionMap | None  # of the attention head where there is one
    layers: tuple[WatchedLayer, ...]  # from the first to the last, forwards before backwards
    frames_per_encoding: float

    @property
    def seconds_per_frame(self) -> float:
        return self.duration / max(1, len(self.features))


def explain(
    model: Model,
    tokenizer: Tokenizer,
    features: Float[Tensor, "frame mel"],
    tokens: Sequence[int],
    *,
    hop_ms: float,
) -> Explanation:
    """Look at a model, in evaluation mode, while it hears normalised log-mels in which `tokens` were found.

    Gradients are those of the words' log-probabilities by the model's heads, added up, on the log-mels (Simonyan et
    al. 2014, arXiv:1312.6034, section 3).
    """
    device = next(model.parameters()).device
    inputs = features[None].to(device).detach().clone().requires_grad_()
    lengths = torch.tensor([len(features)], device=device)
    given = torch.tensor([list(tokens)], dtype=torch.int64, device=device)
    with torch.inference_mode(False), torch.enable_grad(), _evaluating(model), _layer_inputs(model) as seen:
        encodings, encoded = model.encode(inputs, lengths)
        frame_scores = model.frame_scores(encodings)
        log_probs = None if frame_scores is None else frame_scores[0]
        forced = model.forced_steps(encodings, encoded, given, torch.tensor([len(tokens)], device=device))
        spans = _token_spans(log_probs, None if forced is None else forced.weights[0].mean(dim=0), tokens)
        scores = [
            _word_score(places, tokens, spans, log_probs, None if forced is None else forced.log_probs[0])
            for places in word_places(tokens, tokenizer)
        ]
        gradients = [torch.autograd.grad(score, inputs, retain_graph=True)[0][0] for score in scores]
        layers = [watched for number, one in enumerate(seen, 1) for watched in _watch_layer(number, *one)]
    frames_per_encoding = len(features) / max(1, encodings.shape[1])
    words = spell_words(tokens, spans, tokenizer, frames_per_encoding=frames_per_encoding)
    return Explanation(
        features=_numbers(features),
        duration=len(features) * hop_ms / 1000,
        tokens=tuple(tokens),
        pieces=tuple(tokenizer.pieces),
        words=tuple(reach_out(words, features)) if words else (),
        gradients=tuple(_numbers(gradient) for gradient in gradients),
        posteriors=None if log_probs is None else _numbers(log_probs.exp()),
        attention=None if forced is None else _attention_map(forced.weights.mean(dim=1), encoded),
        layers=tuple(layers),
        frames_per_encoding=frames_per_encoding,
    )


@contextlib.contextmanager
def _evaluating(model: nn.Module) -> Iterator[None]:
    """Puts the model in evaluation mode, and its cells on a path that has a gradient there."""
    was_training = model.training
    model.eval()
    cells = [module for module in model.modules() if isinstance(module, Cell)]
    paths = [cell.path for cell in cells]
    for cell in cells:
        cell.path = "reference" if cell.path == "auto" else cell.path
    try:
        yield
    finally:
        model.train(was_training)
        for cell, path in zip(cells, paths, strict=True):
            cell.path = path  # type: ignore


@contextlib.contextmanager
def _layer_inputs(model: Model) -> Iterator[list[tuple[RecurrentLayer, Tensor, Tensor]]]:
    """Yields a list that fills with what each recurrent layer of the encoder is given, in the order of the calls."""
    seen: list[tuple[RecurrentLayer, Tensor, Tensor]] = []

    def keep(layer: nn.Module, arguments: tuple[Tensor, ...]) -> None:
        assert isinstance(layer, RecurrentLayer)
        seen.append((layer, arguments[0].detach(), arguments[1]))

    layers = [module for module in model.encoder.modules() if isinstance(module, RecurrentLayer)]
    hooks = [layer.register_forward_pre_hook(keep) for layer in layers]
    try:
        yield seen
    finally:
        for hook in hooks:
            hook.remove()


def _watch_layer(number: int, layer: RecurrentLayer, inputs: Tensor, lengths: Tensor) -> Iterator[WatchedLayer]:
    """The second direction reads the utterance from its end; what it did is turned back into the utterance's time."""
    for direction, cell in (("forwards", layer.forwards), ("backwards", layer.backwards)):
        if cell is None:
            continue
        is_turned = direction == "backwards"
        watched = watch(cell, reverse_within_length(inputs, lengths) if is_turned else inputs)
        gates = {
            name: _numbers((reverse_within_length(values, lengths) if is_turned else values)[0])
            for name, values in watched.gates.items()
        }
        memory = reverse_within_length(watched.memory, lengths) if is_turned else watched.memory
        yield WatchedLayer(f"layer {number}, {direction}", gates, _numbers(memory[0]))


def _token_spans(
    log_probs: Float[Tensor, "time vocabulary"] | None,
    weights: Float[Tensor, "step time"] | None,
    tokens: Sequence[int],
) -> list[TokenSpan]:
    """Returns where each token is: by CTC where the model has such a head, else where the decoder looked for it."""
    if log_probs is not None:
        return align_tokens(log_probs, tokens)
    if weights is None:
        return spread_tokens(len(tokens), 1)
    looked = weights[: len(tokens)].argmax(dim=1).cummax(dim=0).values.tolist() if tokens else []
    return place_tokens(looked, [0.0] * len(tokens), weights.shape[1])


def _word_score(
    places: Sequence[int],
    tokens: Sequence[int],
    spans: Sequence[TokenSpan],
    log_probs: Float[Tensor, "time vocabulary"] | None,
    written: Float[Tensor, "step vocabulary"] | None,
) -> Float[Tensor, ""]:
    """Returns the log-probability of a word's tokens: by CTC where it shows each best, and by the decoder."""
    parts = []
    for place in places:
        token, span = tokens[place], spans[place]
        if log_probs is not None:
            parts.append(log_probs[span.start_encoding : max(span.start_encoding + 1, span.end_encoding), token].max())
        if written is not None:
            parts.append(written[place, token])
    return torch.stack(parts).sum()


def _attention_map(weights: Float[Tensor, "one step time"], lengths: Tensor) -> AttentionMap:
    steps = torch.tensor([weights.shape[1]], device=weights.device)
    weights = weights.detach()
    return AttentionMap(
        weights=_numbers(weights[0]),
        diagonality=float(diagonality(weights, steps)),
        entropy=float(entropy(weights, steps, lengths)),
    )


def _numbers(values: Tensor) -> Float32[np.ndarray, "..."]:
    return values.detach().float().cpu().numpy()
