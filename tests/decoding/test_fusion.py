"""What searches add to the scores: hotwords as whole words, bonuses, and the weighted sum of all."""

import pytest
import torch

from asr.decoding.ctc_beam import CTCBeam, CTCBeamConfig
from asr.decoding.fusion import BonusScorer, FusionConfig, WeightedScorers
from asr.decoding.hotwords import HotwordError, HotwordScorer
from asr.decoding.scorer import Scorer
from asr.model.heads.ctc import CTCHead
from asr.text import BLANK_ID, BOS_ID, EOS_ID, CharTokenizer, SentencePieceTokenizerConfig, Tokenizer

CHARACTERS = CharTokenizer(" abcdefghijklmnopqrstuvwxyz")
SENTENCES = ["the art of living room key", "start arts room", "living in the room"]
PIECES = SentencePieceTokenizerConfig(vocabulary_size=27).train(SENTENCES * 3)


def total(scorer: Scorer, tokenizer: Tokenizer, text: str) -> float:
    """What a scorer gives for a whole text, its end counted."""
    before, score = BOS_ID, 0.0
    state = scorer.start(1, torch.device("cpu"))
    for token in [*tokenizer.encode(text), EOS_ID]:
        rows, state = scorer.step(torch.tensor([before]), state)
        score += float(rows[0, token])
        before = token
    return score


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("art", 3), ("the art of it", 3), ("arts", 0), ("start", 0), ("art art", 6), ("", 0), ("ar t", 0),
        ("living", 6), ("living roo", 6), ("living room", 11), ("living rooms", 6), ("my living room it", 11),
        ("living room key", 11 + 8), ("room key", 8), ("room ke", 0), ("living  room", 6), ("livingroom", 0),
    ],
)  # fmt: skip
def test_a_hotword_counts_as_whole_words_and_to_its_end(text: str, expected: int) -> None:
    scorer = HotwordScorer(["art", "living room", "living", "room key"], CHARACTERS, boost=1.0)
    assert total(scorer, CHARACTERS, text) == expected


@pytest.mark.parametrize("text", ["art", "the art of", "arts", "start", "living room", "the living room key"])
def test_pieces_are_boosted_as_characters_are(text: str) -> None:
    spelled = {word: len(PIECES.encode(word)) for word in ("art", "living room")}
    expected = sum(size for word, size in spelled.items() if f" {word} " in f" {text} ")
    scorer = HotwordScorer(["art", "living room"], PIECES, boost=0.5)
    assert total(scorer, PIECES, text) == 0.5 * expected


@pytest.mark.parametrize(
    ("hotword", "message"),
    [
        ("Anna", "fusion.hotwords: 'Anna': the model cannot write 'A'; .*: did you mean 'anna'"),
        ("café", "the model cannot write 'é'; .*: write it with those, or train on transcripts that have it"),
        (" ", "no word in it; expected words"),
    ],
)
def test_a_hotword_outside_the_vocabulary_is_refused_with_the_remedy(hotword: str, message: str) -> None:
    with pytest.raises(HotwordError, match=message):
        FusionConfig(hotwords=("art", hotword)).build(CHARACTERS)


@pytest.mark.parametrize("tokenizer", [CHARACTERS, PIECES], ids=["characters", "pieces"])
@pytest.mark.parametrize("text", ["the living room", "", "key", "arts in start"])
def test_bonuses_are_for_each_token_and_each_word(tokenizer: Tokenizer, text: str) -> None:
    scorer = BonusScorer(tokenizer, token_bonus=0.5, word_bonus=2.0)
    assert total(scorer, tokenizer, text) == 0.5 * len(tokenizer.encode(text)) + 2.0 * len(text.split())


def test_several_scorers_add_up_by_their_weights() -> None:
    parts = [
        HotwordScorer(["art"], CHARACTERS, boost=1.0),
        BonusScorer(CHARACTERS, token_bonus=1.0, word_bonus=0.0),
        HotwordScorer(["of"], CHARACTERS, boost=1.0),
    ]
    together = WeightedScorers(list(zip(parts, (2.0, 1.0, 0.5), strict=True)))
    assert total(together, CHARACTERS, "art of") == 2.0 * 3 + 6 + 0.5 * 2


def test_nothing_to_add_is_no_scorer() -> None:
    assert FusionConfig().build(CHARACTERS) is None
    assert FusionConfig(weight=0.0).build(CHARACTERS, BonusScorer(CHARACTERS, token_bonus=1.0, word_bonus=0.0)) is None


def test_a_hotword_is_heard_rather_than_what_sounds_like_it() -> None:
    """The scores say "kat" a little more than "cat"; the hotword makes up for it, and no word changes without it."""

    class Given(CTCHead):
        def forward(self, encodings: torch.Tensor) -> torch.Tensor:
            return encodings

    head = Given(1, vocabulary_size=CHARACTERS.vocabulary_size)
    scores = torch.full((1, 7, CHARACTERS.vocabulary_size), -8.0)
    for frame, token in enumerate([BLANK_ID, *CHARACTERS.encode("kat"), BLANK_ID, BLANK_ID, BLANK_ID]):
        scores[0, frame, token] = 0.0
    scores[0, 1, CHARACTERS.encode("c")[0]] = -1.0
    scores = scores.log_softmax(-1)

    def heard(**fusion) -> str:
        scorer = FusionConfig(**fusion).build(CHARACTERS)
        (found,) = CTCBeam(CTCBeamConfig(beam=8), scorer)(head, scores, torch.tensor([7]))
        return CHARACTERS.decode(found.tokens)

    assert heard() == "kat"
    assert heard(hotwords=("cat",), hotword_boost=0.5) == "cat"
    assert heard(hotwords=("cats",), hotword_boost=0.5) == "kat"
