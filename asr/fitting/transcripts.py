"""Transcripts for recordings labelled with intent and slots only: the sentence that a model hears most in each.

    python -m asr.commands transcripts runs/x data/orders/train.jsonl --commands orders.yaml --output train.jsonl

Of all sentences of the grammar that mean what the label says, the one with the best path in the model's posteriors is
the transcript. A model trained on these hears the next ones better (as Lamel, Gauvain and Adda 2002, Lightly supervised
and unsupervised acoustic model training, do with closed captions); so it can be done again.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch

from asr.audio.reading import AudioError, read_stretch
from asr.data.manifest import Manifest, Utterance
from asr.data.manifest_writing import write_manifest
from asr.grammar.network import word_graph
from asr.grammar.pronunciations import with_pronunciations
from asr.grammar.templates import Grammar, load_grammar
from asr.grammar.word_graph import Graph
from asr.recognition.listening import Heard
from asr.recognizer import Recognizer, RecognizerError
from asr.text import BLANK_ID, Tokenizer
from asr.understanding.labelled import NoSentenceError, constrain
from asr.understanding.rejection import score_ratio
from asr.understanding.search import GrammarSearch, Scores, best_path
from asr.understanding.token_graph import WordReader


@dataclass(frozen=True)
class Found:
    """A sentence that agrees with a recording's label."""

    text: str
    score: float  # natural-log probability of its best path, with its weight in the grammar
    ratio: float  # log ratio to what the model hears without a grammar, a token: 0 is best


class LabelSearch:
    """Finds the best sentence of a grammar among those that a label allows; labels that come again cost nothing."""

    def __init__(self, grammar: Grammar, tokenizer: Tokenizer) -> None:
        self.grammar = grammar
        self.tokenizer = with_pronunciations(tokenizer, grammar, word_graph(grammar).symbols)
        self._searches: dict[str, tuple[Graph[str], GrammarSearch]] = {}

    def search(self, scores: Scores, *, intent: str, slots: dict) -> Found:
        """Returns the best sentence in one utterance's log-probabilities, those of a CTC head; exact.

        Raises NoSentenceError where no sentence has this label, or none fits into the frames.
        """
        label = f"{intent} {json.dumps(slots, sort_keys=True, ensure_ascii=False)}"
        if label not in self._searches:
            graph = word_graph(constrain(self.grammar, intent=intent, slots=slots))
            self._searches[label] = graph, GrammarSearch(graph, self.tokenizer)
        graph, search = self._searches[label]
        found = search.search(scores)
        if not found:
            raise NoSentenceError(
                f"{len(scores)} encodings; expected more for a sentence of {label}; the recording is too short for it"
            )
        best = found[0]
        words = [word.text for word in WordReader(graph, self.tokenizer).read(best.tokens)]
        free = scores.argmax(axis=1)
        num_free = int(((free != BLANK_ID) & (np.append(-1, free[:-1]) != free)).sum())
        ratio = score_ratio(
            command=best.score - graph.weigh(words),
            filler=float(best_path(scores).sum(dtype=np.float64)),
            num_tokens=len(best.tokens),
            num_filler_tokens=num_free,
        )
        return Found(" ".join(words), best.score, ratio)


def write_transcripts(
    run: Path, manifest: Path, *, grammar: Path, output: Path, cut_to_speech: bool = False
) -> tuple[int, list[str]]:
    """Write the manifest with a transcript in each line; gives their number, and why some have none.

    `label_ratio` beside says how well it fits: far below the others, the label may be wrong. With `cut_to_speech` each
    line is what the model hears in its second look (asr/decoding/endpointing.py). Raises RecognizerError for one
    without it.
    """
    recognizer = Recognizer.load(run)
    if cut_to_speech and recognizer.endpointing is None:
        raise RecognizerError(
            f"{run}: it hears a recording once; expected `endpointing: {{margin: 0.3}}` in its config.yaml to cut by"
        )
    search = LabelSearch(load_grammar(grammar), recognizer.tokenizer)
    faults: list[str] = []
    number = write_manifest(output, _transcribed(recognizer, Manifest.read(manifest), search, faults, cut_to_speech))
    return number, faults


def _transcribed(
    recognizer: Recognizer, manifest: Manifest, search: LabelSearch, faults: list[str], cut_to_speech: bool
) -> Iterator[Utterance]:
    for item in manifest:
        intent, slots = item.extra.get("intent"), item.extra.get("slots", {})
        if not isinstance(intent, str) or not isinstance(slots, dict):
            raise NoSentenceError(
                f"{manifest.path}: {item.id}: intent {intent!r} with slots {slots!r}; expected the label of a command"
            )
        try:
            heard = hear(recognizer, item)
            found = search.search(heard.scores[0].numpy(), intent=intent, slots=slots)
        except (AudioError, NoSentenceError) as error:
            faults.append(f"{item.id}: {error}")
            continue
        if cut_to_speech:
            item = _cut(item, heard, seconds_per_frame=recognizer.feature_config.hop_ms / 1000)
        yield replace(item, text=found.text, extra={**item.extra, "label_ratio": round(found.ratio, 4)})


def _cut(item: Utterance, heard: Heard, *, seconds_per_frame: float) -> Utterance:
    """Returns the part of the utterance that was heard."""
    start = heard.first_frames[0] * seconds_per_frame
    duration = min(len(heard.features[0]) * seconds_per_frame, item.duration - start)
    return replace(item, offset=round(item.offset + start, 6), duration=round(duration, 6))


@torch.inference_mode()
def hear(recognizer: Recognizer, item: Utterance) -> Heard:
    """Returns what a model with a CTC head finds in one utterance; raises RecognizerError for another."""
    if not recognizer.model.scores_frames:
        raise RecognizerError("transcripts: the model has no CTC head, which labels are searched with; expected one")
    rate = recognizer.feature_config.sample_rate
    samples = read_stretch(item.stretch, sample_rate=rate)
    return recognizer.listen([recognizer.log_mels(samples, sample_rate=rate)])


def ctc_scores(recognizer: Recognizer, item: Utterance) -> Scores:
    """Returns the log-probabilities of a CTC head in one utterance, a row for each encoding."""
    return hear(recognizer, item).scores[0].numpy()
