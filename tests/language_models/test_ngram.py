"""n-gram models: estimated as the formulas say, kept in ARPA files, and scored as KenLM does."""

import gzip
import math
import sys
from collections import Counter
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from asr.language_models import kenlm as kenlm_module
from asr.language_models.kenlm import KenLMError, KenLMScorer
from asr.language_models.kneser_ney import FALLBACK_DISCOUNTS, EstimationError, estimate_kneser_ney, word_symbols
from asr.language_models.ngram import NGramError, NGramNetwork, NGramScorer, token_symbols
from asr.language_models.table import ARPAError, NGramTable, Order, check_counts, read_arpa, read_words, write_arpa
from asr.text import BOS_ID, EOS_ID, NUM_SPECIAL, CharTokenizer

TEXTS = [
    "turn the light on", "turn the light off", "turn it on", "play the song", "play it again", "stop it",
    "the light is on", "on and off", "turn the song off", "again and again", "stop the light", "it is the song",
]  # fmt: skip
TOKENIZER = CharTokenizer(sorted({character for text in TEXTS for character in text}))


def places_of(symbols: tuple[str, ...], texts: list[str]) -> list[list[int]]:
    return [[symbols.index(word) if word in symbols else 0 for word in text.split()] for text in texts]


@pytest.fixture(scope="module")
def words() -> NGramTable:
    symbols = word_symbols(text.split() for text in TEXTS)
    return estimate_kneser_ney(places_of(symbols, TEXTS), symbols=symbols, order=3)


@pytest.fixture(scope="module")
def characters() -> NGramTable:
    symbols = token_symbols(TOKENIZER)
    places = {token: place for place, token in enumerate(symbols.values())}
    sentences = [[places[token] for token in TOKENIZER.encode(text)] for text in TEXTS]
    return estimate_kneser_ney(sentences, symbols=tuple(symbols), order=5)


def plain_kneser_ney(sentences: list[list[str]], order: int, vocabulary: list[str], history: tuple, word: str) -> float:
    """p(word | history) by the formulas, n-gram by n-gram: what the arrays must equal."""
    n = len(history) + 1
    grams = [
        tuple(padded[end - size : end])
        for sentence in sentences
        for padded in [["<s>", *sentence, "</s>"]]
        for size in range(1, order + 1)
        for end in range(size, len(padded) + 1)
    ]
    raw = Counter(grams)

    def count(gram: tuple) -> int:
        if len(gram) == order or gram[0] == "<s>":
            return raw[gram] if gram != ("<s>",) else 0
        return sum(1 for longer in raw if len(longer) == len(gram) + 1 and longer[1:] == gram)

    counts = {gram: count(gram) for gram in raw if len(gram) == n}
    having = [sum(value == number for value in counts.values()) for number in (1, 2, 3, 4)]
    discounts = FALLBACK_DISCOUNTS
    if all(having[:3]):
        share = having[0] / (having[0] + 2 * having[1])
        found = tuple(size - (size + 1) * share * having[size] / having[size - 1] for size in (1, 2, 3))
        discounts = found if all(0 < value <= size for size, value in enumerate(found, 1)) else discounts

    def discount(gram: tuple) -> float:
        return discounts[min(counts[gram], 3) - 1] if counts[gram] else 0.0

    after = {gram: value for gram, value in counts.items() if gram[:-1] == history and value}
    if not after:
        return plain_kneser_ney(sentences, order, vocabulary, history[1:], word)
    total, gamma = sum(after.values()), sum(discount(gram) for gram in after)
    gram = (*history, word)
    kept = max(0.0, after.get(gram, 0) - (discount(gram) if gram in after else 0.0)) / total
    lower = 1 / len(vocabulary) if n == 1 else plain_kneser_ney(sentences, order, vocabulary, history[1:], word)
    return kept + gamma / total * lower


@pytest.mark.parametrize("history", [(), ("turn",), ("turn", "the"), ("<s>",), ("<s>", "turn"), ("the", "light")])
def test_the_estimates_are_those_of_the_formulas(words: NGramTable, history: tuple) -> None:
    network = NGramNetwork.of(words, np.arange(len(words.symbols)), len(words.symbols))
    state = torch.zeros(1, dtype=torch.int64)
    for word in history:
        _, state = network.follow(state, torch.tensor([words.symbols.index(word)]))
    predicted = [symbol for symbol in words.symbols if symbol != "<s>"]
    row = network.rows(state)[0].exp()
    sentences = [text.split() for text in TEXTS]
    for symbol in predicted:
        expected = plain_kneser_ney(sentences, 3, predicted, history, symbol)
        assert float(row[words.symbols.index(symbol)]) == pytest.approx(expected, rel=1e-5), symbol


def test_every_context_gives_a_distribution_whichever_way_it_is_asked(characters: NGramTable, generator) -> None:
    scorer = NGramScorer(characters, TOKENIZER)
    tokens = torch.randint(NUM_SPECIAL, TOKENIZER.vocabulary_size, (30, 8), generator=generator)
    tokens[::2] = torch.tensor([TOKENIZER.encode("the ligh")] * 15)
    rows, state = scorer.step(torch.full((30,), BOS_ID), scorer.start(30, torch.device("cpu")))
    for column in tokens.unbind(1):
        torch.testing.assert_close(rows.exp().sum(dim=1), torch.ones(30))
        single, _ = scorer._network.follow(state[0], column)
        torch.testing.assert_close(rows.gather(1, column[:, None])[:, 0], single)
        rows, state = scorer.step(column, state)
    assert float(rows[0, TOKENIZER.encode("t")[0]].exp()) > 0.5  # "light" after "the ligh"


def test_it_is_better_than_guessing_on_new_sentences(characters: NGramTable) -> None:
    network = NGramNetwork.of(characters, np.arange(len(characters.symbols)), len(characters.symbols))
    places = {symbol: place for place, symbol in enumerate(characters.symbols)}
    sentence = [*(places[letter.replace(" ", "▁")] for letter in "turn the song on"), places["</s>"]]
    (scores,) = network.score_sentences([sentence], start=places["<s>"])
    assert math.exp(-float(scores.mean())) < 4


def test_a_file_gives_the_table_back(words: NGramTable, tmp_path: Path) -> None:
    write_arpa(tmp_path / "words.arpa", words)
    text = (tmp_path / "words.arpa").read_text()
    assert text.startswith(f"\\data\\\nngram 1={len(words.symbols)}\n")
    (tmp_path / "words.arpa.gz").write_bytes(gzip.compress(text.encode()))
    for name in ("words.arpa", "words.arpa.gz"):
        found = read_arpa(tmp_path / name)
        assert found.symbols == words.symbols
        for order, expected in zip(found.orders, words.orders, strict=True):
            assert (order.grams == expected.grams).all()
            np.testing.assert_allclose(order.log_probs, expected.log_probs, atol=1e-5)
            np.testing.assert_allclose(order.backoffs, expected.backoffs, atol=1e-5)
        assert read_words(tmp_path / name) == list(words.symbols[3:])


@pytest.mark.parametrize(
    ("before", "after", "message"),
    [
        ("\\data\\", "data", r"bad.arpa:1: found 'data'; expected \\data\\"),
        ("ngram 1=", "ngrams 1=", r"bad.arpa:2: found 'ngrams 1=.*; expected 'ngram 1=NUMBER'"),
        ("ngram 3=", "ngram 4=", r"bad.arpa:4: found 'ngram 4=.*; expected '\\1-grams:'"),
        ("\tturn the\t", "\tturn turtle\t", r"found '.*turtle.*'; expected log10 probability, 2 of the 1-grams"),
        ("\n\\2-grams:\n", "\n\\2-grams:\nx\n", "found 'x'; expected log10 probability"),
        ("\\end\\", "", r"found 'the end of the file'; expected \\end\\"),
        ("\t</s>\t", "\t</S>\t", "no </s> among its 1-grams"),
        ("\tagain\t", "\tand\t", "a 1-gram twice"),
        ("ngram 1=", "ngram 1=99999999", "found .*; expected at most 20 lengths, and no more n-grams than"),
        ("ngram 1=", "ngram 1=99999999999999999999999999", "no more n-grams than"),
    ],
)  # fmt: skip
def test_a_damaged_file_is_refused(words: NGramTable, tmp_path: Path, before: str, after: str, message: str) -> None:
    path = tmp_path / "bad.arpa"
    write_arpa(path, words)
    text = path.read_text()
    changed = text.replace(before, after, 1) if before != "\t</s>\t" else text.replace("</s>", "</S>")
    path.write_text(changed)
    with pytest.raises(ARPAError, match=message):
        read_arpa(path)


SMALL_ARPA = """\\data\\
ngram 1=3
ngram 2=2

\\1-grams:
-99\t<s>\t-0.3
-1.2\t</s>
-0.7\tturn\t-0.2

\\2-grams:
-0.1\t<s> turn
-0.4\tturn </s>

\\end\\
"""


@pytest.mark.parametrize("number", ["nan", "inf", "-inf", "0.5", "1e999"])
def test_logarithms_that_are_none_of_a_probability_are_refused(tmp_path: Path, number: str) -> None:
    path = tmp_path / "x.arpa"
    path.write_text(SMALL_ARPA)
    assert read_arpa(path).num_grams == 5
    path.write_text(SMALL_ARPA.replace("-0.7\tturn", f"{number}\tturn"))
    with pytest.raises(ARPAError, match=r"x\.arpa:8: found '.*'; expected a finite log10 of a probability, 0 at most"):
        read_arpa(path)


def test_what_strangers_write_into_an_arpa_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.arpa"
    for before, after, message in (
        ("-0.3", "inf", "x.arpa:6: .* and a finite backoff weight"),
        ("-0.4\tturn </s>", "-0.4\t<s> turn", "x.arpa:12: a 2-gram twice; expected each once"),
        ("ngram 1=3", "ngram 1=0", "expected 1-grams; the file says that there are none"),
        ("-1.2\t</s>", "-1.2\t</s>\t0\t0", "expected log10 probability, 1 of the 1-grams"),
        ("\\2-grams:", "", r"expected \\2-grams:"),
        ("turn", "t" * 70_000, "x.arpa:8: a line of more than 65,536 characters; expected an n-gram"),
        ("ngram 2=2", "\n".join(f"ngram {n}=1" for n in range(2, 30)), "expected at most 20 lengths"),
    ):
        path.write_text(SMALL_ARPA.replace(before, after, 1))
        with pytest.raises(ARPAError, match=message):
            read_arpa(path)
    path.write_text(SMALL_ARPA.replace("ngram 2=2", "ngram 2=2000000"))
    with pytest.raises(ARPAError, match="no more n-grams than"):
        check_counts(path)


def test_a_gzip_bomb_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.arpa.gz"
    path.write_bytes(gzip.compress(b"\n" * (40 << 20) + SMALL_ARPA.encode()))
    with pytest.raises(ARPAError, match=r"x\.arpa\.gz:\d+: .* bytes unpack to more than 16,777,216; expected n-grams"):
        read_arpa(path)


def test_other_unusable_files_are_refused(words: NGramTable, tmp_path: Path) -> None:
    with pytest.raises(ARPAError, match="no such file; expected an ARPA file or a run folder"):
        read_arpa(tmp_path / "none.arpa")
    (tmp_path / "bad.arpa").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ARPAError, match="not an ARPA file"):
        read_arpa(tmp_path / "bad.arpa")
    (tmp_path / "bad.arpa.gz").write_bytes(b"plain")
    with pytest.raises(ARPAError, match="not an ARPA file"):
        read_arpa(tmp_path / "bad.arpa.gz")
    with pytest.raises(ARPAError, match="the symbol 'a b'; expected one without white space"):
        write_arpa(tmp_path / "x.arpa", NGramTable(("a b",), words.orders))


def test_text_without_sentences_and_tables_that_do_not_fit_are_refused(words, characters) -> None:
    with pytest.raises(EstimationError, match=r"data\.train: no text in it"):
        estimate_kneser_ney([[], []], symbols=word_symbols([]), order=2)
    with pytest.raises(NGramError, match=r"not over the tokens of this tokenizer: it has 'again', .*it lacks 'a', "):
        NGramScorer(words, TOKENIZER)
    with pytest.raises(NGramError, match="both ' ' and '▁' are tokens"):
        token_symbols(CharTokenizer(" ▁"))
    first, second, *_ = characters.orders
    torn = Order(characters.orders[2].grams[:, [0, 0, 0]] * 0 + 3, *[characters.orders[2].log_probs] * 2)
    with pytest.raises(NGramError, match="a 3-gram whose first 2 symbols are no 2-gram; its file is damaged"):
        NGramScorer(NGramTable(characters.symbols, (first, second, torn)), TOKENIZER)


# Made by hand: "b a" has no 2-gram "a b" behind its 3-gram, as in models that were pruned.
PRUNED = """\\data\\
ngram 1=5
ngram 2=6
ngram 3=1

\\1-grams:
-1.0\t<unk>
-99\t<s>\t-0.5
-0.7\t</s>
-0.5\ta\t-0.3
-0.6\tb\t-0.2

\\2-grams:
-0.2\t<s> b\t-0.1
-0.3\tb a\t-0.4
-0.1\ta </s>
-0.9\tb b\t-0.3
-0.8\tb </s>
-1.1\ta a\t-0.2

\\3-grams:
-0.05\tb a b

\\end\\
"""


def test_it_scores_as_kenlm_does(characters: NGramTable, tmp_path: Path, generator) -> None:
    kenlm = pytest.importorskip("kenlm", reason="needs KenLM: pip install 'earshot[kenlm]'")
    write_arpa(tmp_path / "characters.arpa", characters)
    (tmp_path / "pruned.arpa").write_text(PRUNED)
    sentences = {
        "characters": ["turn the light on", "on the turn", "gg gg", "thexlight"],
        "pruned": ["b a b a b", "a b", "b", "a a", "b b a b"],
    }
    for name, texts in sentences.items():
        table, reference = read_arpa(tmp_path / f"{name}.arpa"), kenlm.Model(str(tmp_path / f"{name}.arpa"))
        network = NGramNetwork.of(table, np.arange(len(table.symbols)), len(table.symbols))
        places = {symbol: place for place, symbol in enumerate(table.symbols)}
        for text in texts:
            symbols = [letter.replace(" ", "▁") for letter in text] if name == "characters" else text.split()
            ids = [places.get(symbol, places["<unk>"]) for symbol in symbols]
            (scores,) = network.score_sentences([[*ids, places["</s>"]]], start=places["<s>"])
            assert float(scores.sum()) == pytest.approx(reference.score(" ".join(symbols)) * math.log(10), abs=1e-4)


def test_kenlms_scorer_equals_the_built_in_one(characters: NGramTable, tmp_path: Path, generator) -> None:
    pytest.importorskip("kenlm", reason="needs KenLM: pip install 'earshot[kenlm]'")
    write_arpa(tmp_path / "characters.arpa", characters)
    scorers = NGramScorer(characters, TOKENIZER), KenLMScorer(tmp_path / "characters.arpa", TOKENIZER)
    tokens = torch.randint(NUM_SPECIAL, TOKENIZER.vocabulary_size, (3, 7), generator=generator)
    states = [scorer.start(3, torch.device("cpu")) for scorer in scorers]
    used = [EOS_ID, *range(NUM_SPECIAL, TOKENIZER.vocabulary_size)]
    for column in (torch.full((3,), BOS_ID), *tokens.unbind(1)):
        (rows, states[0]), (others, states[1]) = (
            scorer.step(column, state) for scorer, state in zip(scorers, states, strict=True)
        )
        torch.testing.assert_close(rows[:, used], others[:, used], atol=1e-4, rtol=0)


def test_kenlm_refuses_what_it_cannot_use(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Model:  # in the place of KenLM's own, which is not installed everywhere
        def __init__(self, path: str) -> None:
            if path.endswith(".bin"):
                raise OSError("no header")

        def __contains__(self, symbol: str) -> bool:
            return symbol in ("<s>", "</s>", "turn")

    monkeypatch.setitem(sys.modules, "kenlm", SimpleNamespace(Model=Model))
    with pytest.raises(KenLMError, match=r"words\.arpa: not over the tokens of this tokenizer: it lacks 'a', "):
        KenLMScorer(tmp_path / "words.arpa", TOKENIZER)
    with pytest.raises(KenLMError, match=r"KenLM cannot read it \(no header\); expected an ARPA"):
        kenlm_module.open_kenlm(tmp_path / "bad.bin")
    monkeypatch.setitem(sys.modules, "kenlm", None)
    with pytest.raises(KenLMError, match="KenLM is needed to read it; install it with: pip install"):
        kenlm_module.open_kenlm(tmp_path / "words.arpa")
