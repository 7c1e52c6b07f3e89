"""Tokenizers: special ids, exact round trips, determinism, refusals."""

import hashlib
import json
from pathlib import Path

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from asr.text import (
    BLANK_ID,
    BOS_ID,
    EOS_ID,
    NUM_SPECIAL,
    PAD_ID,
    SPECIAL_PIECES,
    UNKNOWN_ID,
    UNKNOWN_TEXT,
    CharTokenizer,
    CharTokenizerConfig,
    PhonemeTokenizer,
    PhonemeTokenizerConfig,
    SentencePieceTokenizer,
    SentencePieceTokenizerConfig,
    Tokenizer,
    TokenizerError,
    load_tokenizer,
    pronunciation,
)
from asr.text.inventories import INVENTORIES

TEXTS = [
    "play some music",
    "turn the light on",
    "turn off the light",
    "please stop",
    "don't make it louder",
    "größer ist schöner",
]
CONFIGS = [
    CharTokenizerConfig(),
    SentencePieceTokenizerConfig(model_type="unigram", vocabulary_size=38),
    SentencePieceTokenizerConfig(model_type="bpe", vocabulary_size=60),
]
TOKENIZERS = [config.train(TEXTS) for config in CONFIGS]
NAMES = ["char", "unigram", "bpe"]
KNOWN = "".join(sorted(set("".join(TEXTS)) - {" "}))

each_tokenizer = pytest.mark.parametrize("tokenizer", TOKENIZERS, ids=NAMES)
each_config = pytest.mark.parametrize("config", CONFIGS, ids=NAMES)


@each_tokenizer
def test_special_tokens_have_the_same_ids_everywhere(tokenizer: Tokenizer) -> None:
    assert tuple(range(NUM_SPECIAL)) == (BLANK_ID, PAD_ID, UNKNOWN_ID, BOS_ID, EOS_ID)
    assert tuple(tokenizer.pieces[:NUM_SPECIAL]) == SPECIAL_PIECES
    assert len(tokenizer.pieces) == tokenizer.vocabulary_size
    assert len(set(tokenizer.pieces)) == tokenizer.vocabulary_size


@each_tokenizer
@given(st.lists(st.text(KNOWN, min_size=1), max_size=6))
def test_decoding_undoes_encoding(tokenizer: Tokenizer, words: list[str]) -> None:
    text = " ".join(words)
    ids = tokenizer.encode(text)
    assert tokenizer.decode(ids) == text
    assert all(NUM_SPECIAL <= index < tokenizer.vocabulary_size for index in ids)
    assert tokenizer.unknown_characters(text) == set()


@given(st.text(), st.text())
def test_characters_round_trip_any_text_they_were_trained_on(text: str, more: str) -> None:
    tokenizer = CharTokenizerConfig().train([text, more, "x"])
    assert tokenizer.decode(tokenizer.encode(text)) == text


@each_tokenizer
@given(st.text())
def test_any_text_encodes_and_only_unknown_characters_become_unknown(tokenizer: Tokenizer, text: str) -> None:
    ids = tokenizer.encode(text)
    assert not set(ids) & {BLANK_ID, PAD_ID, BOS_ID, EOS_ID}
    assert (UNKNOWN_ID in ids) == bool(tokenizer.unknown_characters(text))


@each_tokenizer
def test_an_unknown_character_is_the_unknown_token(tokenizer: Tokenizer) -> None:
    ids = tokenizer.encode("play ж")
    assert ids[-1] == UNKNOWN_ID
    assert tokenizer.unknown_characters("play ж") == {"ж"}
    assert tokenizer.decode(ids) == f"play {UNKNOWN_TEXT}"


@each_tokenizer
def test_the_names_of_special_tokens_in_a_transcript_are_plain_text(tokenizer: Tokenizer) -> None:
    assert not set(tokenizer.encode("<blank> <pad> <bos> <eos>")) & {BLANK_ID, PAD_ID, BOS_ID, EOS_ID}


def test_the_space_marker_in_a_transcript_is_no_space() -> None:
    tokenizer = TOKENIZERS[1]
    assert UNKNOWN_ID in tokenizer.encode("turn▁off")
    assert tokenizer.unknown_characters("turn▁off") == {"▁"}


@each_tokenizer
def test_special_tokens_decode_to_nothing(tokenizer: Tokenizer) -> None:
    ids = tokenizer.encode("please stop")
    assert tokenizer.decode([BOS_ID, *ids, BLANK_ID, EOS_ID, PAD_ID]) == "please stop"
    assert tokenizer.decode([]) == ""


@each_tokenizer
@pytest.mark.parametrize("index", [-1, 10_000])
def test_an_id_outside_the_vocabulary_is_refused(tokenizer: Tokenizer, index: int) -> None:
    with pytest.raises(TokenizerError, match=f"token id {index} is outside the vocabulary; expected 0 to"):
        tokenizer.decode([index])


@each_config
def test_training_is_deterministic_and_ignores_the_order_of_the_texts(
    config: CharTokenizerConfig | SentencePieceTokenizerConfig,
) -> None:
    first = config.train(TEXTS)
    second = config.train(iter(reversed(TEXTS)))
    assert first.pieces == second.pieces
    assert first.digest == second.digest
    assert config.train([*TEXTS, "ж" * 4]).digest != first.digest


@each_tokenizer
def test_saving_and_loading_gives_the_same_tokenizer(tokenizer: Tokenizer, tmp_path: Path) -> None:
    tokenizer.save(tmp_path / "run" / "tokenizer")
    loaded = load_tokenizer(tmp_path / "run" / "tokenizer")
    assert type(loaded) is type(tokenizer)
    assert loaded.digest == tokenizer.digest
    assert loaded.pieces == tokenizer.pieces
    assert loaded.encode("turn it off ж") == tokenizer.encode("turn it off ж")
    assert not list((tmp_path / "run" / "tokenizer").glob(".*"))


@pytest.mark.parametrize("model_type", ["unigram", "bpe"])
def test_a_vocabulary_too_large_is_refused_with_the_largest_possible(model_type: str) -> None:
    with pytest.raises(TokenizerError, match=r"500 is more than .* the largest possible is \d+") as refusal:
        SentencePieceTokenizerConfig(model_type=model_type, vocabulary_size=500).train(TEXTS)
    largest = int(str(refusal.value).rsplit(" ", 1)[1])
    config = SentencePieceTokenizerConfig(model_type=model_type, vocabulary_size=largest)
    assert config.train(TEXTS).vocabulary_size == largest
    with pytest.raises(TokenizerError, match="the largest possible is"):
        SentencePieceTokenizerConfig(model_type=model_type, vocabulary_size=largest + 1).train(TEXTS)


@pytest.mark.parametrize("model_type", ["unigram", "bpe"])
def test_a_vocabulary_too_small_is_refused_with_the_smallest_possible(model_type: str) -> None:
    with pytest.raises(TokenizerError, match=r"7 is too small .* the smallest possible is \d+") as refusal:
        SentencePieceTokenizerConfig(model_type=model_type, vocabulary_size=7).train(TEXTS)
    smallest = int(str(refusal.value).rsplit(" ", 1)[1])
    config = SentencePieceTokenizerConfig(model_type=model_type, vocabulary_size=smallest)
    assert config.train(TEXTS).vocabulary_size == smallest


def test_a_long_transcript_is_not_dropped() -> None:
    tokenizer = SentencePieceTokenizerConfig(vocabulary_size=9).train(["ab", "ab " * 3000 + "q"])
    assert tokenizer.unknown_characters("q") == set()


def test_nothing_to_learn_from_is_refused() -> None:
    with pytest.raises(TokenizerError, match="no text to learn characters from"):
        CharTokenizerConfig().train([""])
    with pytest.raises(TokenizerError, match="no text to learn pieces from"):
        SentencePieceTokenizerConfig().train(["", "  "])


@pytest.mark.parametrize("reserved", ["▁", "▅", "\0", "<pad>"])
def test_sentencepiece_refuses_its_own_characters_in_training(reserved: str) -> None:
    with pytest.raises(TokenizerError, match=r"sentencepiece cannot learn \[.*take them out"):
        SentencePieceTokenizerConfig(vocabulary_size=18).train(["turn it on", f"turn{reserved}off"])


@settings(max_examples=50, deadline=None)
@given(st.lists(st.text(), min_size=1, max_size=4), st.sampled_from(["unigram", "bpe"]))
def test_sentencepiece_round_trips_any_text_it_was_trained_on(texts: list[str], model_type: str) -> None:
    texts = [" ".join(text.split()) for text in [*texts, "x"]]
    characters = set("".join(texts)) - {" "}
    assume(not characters & set("▁▅\0<"))
    config = SentencePieceTokenizerConfig(model_type=model_type, vocabulary_size=NUM_SPECIAL + 1 + len(characters))
    tokenizer = config.train(texts)
    assert [tokenizer.decode(tokenizer.encode(text)) for text in texts] == texts


def write_json(folder: Path, content: object) -> Path:
    (folder / "tokenizer.json").write_text(json.dumps(content), encoding="utf-8")
    return folder


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"kind": "word"}, "unknown tokenizer kind 'word'; expected one of 'char', 'sentencepiece', 'phoneme'"),
        (["char"], "list; expected a JSON object"),
        ({"kind": "char", "pieces": ["a", "b"]}, "does not start with the special tokens"),
        ({"kind": "char"}, "does not start with the special tokens"),
        ({"kind": "char", "pieces": [*SPECIAL_PIECES, 1]}, r"pieces\.5: found 1; input should be a valid string"),
        (
            {"kind": "char", "pieces": [*SPECIAL_PIECES, ""]},
            "'pieces' holds more than texts; expected one text a piece",
        ),
        ({"kind": "char", "wrong": 1}, "wrong: found 1; extra inputs are not permitted"),
        ({"kind": "char", "pieces": [*SPECIAL_PIECES, "ab"]}, "expected one character a piece"),
        ({"kind": "char", "pieces": [*SPECIAL_PIECES, "a", "a"]}, "names a piece twice"),
        ({"kind": "sentencepiece", "sha256": ""}, "expected the sentencepiece model of the run"),
    ],
)
def test_a_wrong_description_is_refused(tmp_path: Path, content: object, message: str) -> None:
    with pytest.raises(TokenizerError, match=message):
        load_tokenizer(write_json(tmp_path, content))


def test_missing_and_damaged_files_are_refused(tmp_path: Path) -> None:
    with pytest.raises(TokenizerError, match="no such file; expected a tokenizer"):
        load_tokenizer(tmp_path)
    (tmp_path / "tokenizer.json").write_text('{"kind": "ch', encoding="utf-8")
    with pytest.raises(TokenizerError, match="not JSON"):
        load_tokenizer(tmp_path)


def test_a_changed_sentencepiece_model_is_refused(tmp_path: Path) -> None:
    TOKENIZERS[1].save(tmp_path)
    TOKENIZERS[2].save(tmp_path / "other")
    (tmp_path / "sentencepiece.model").write_bytes((tmp_path / "other" / "sentencepiece.model").read_bytes())
    with pytest.raises(TokenizerError, match=r"SHA-256 is .* The file is damaged or of another run"):
        load_tokenizer(tmp_path)


def test_a_sentencepiece_model_with_other_special_ids_is_refused(tmp_path: Path) -> None:
    import io

    from sentencepiece import SentencePieceTrainer

    model = io.BytesIO()
    SentencePieceTrainer.train(sentence_iterator=iter(TEXTS), model_writer=model, vocab_size=35, minloglevel=2)
    SentencePieceTokenizer(model.getvalue()).save(tmp_path)
    with pytest.raises(TokenizerError, match=r"the special tokens are .*<unk>"):
        load_tokenizer(tmp_path)


def test_characters_cover_every_script() -> None:
    tokenizer = CharTokenizer(["a", "ж", "語"])
    assert tokenizer.encode("語жa") == [7, 6, 5]


@pytest.fixture(scope="module")
def phoneme_tokenizer() -> PhonemeTokenizer:
    pytest.importorskip("espeakng_loader")
    return PhonemeTokenizerConfig().train(["four cups for two", "two cups too", "a house", "two"])


def test_phonemes_read_back_as_the_most_frequent_word_that_sounds_so(phoneme_tokenizer: PhonemeTokenizer) -> None:
    assert phoneme_tokenizer.decode(phoneme_tokenizer.encode("too cups")) == "two cups"
    assert phoneme_tokenizer.encode("two") == phoneme_tokenizer.encode("too")
    assert phoneme_tokenizer.decode(phoneme_tokenizer.encode("cups") * 2) == "kʌpskʌps"  # no word of the training


def test_a_new_word_of_known_phonemes_can_be_spelled(phoneme_tokenizer: PhonemeTokenizer, tmp_path: Path) -> None:
    phoneme_tokenizer.save(tmp_path)
    for tokenizer in (phoneme_tokenizer, load_tokenizer(tmp_path)):
        assert UNKNOWN_ID not in tokenizer.encode("puffs")
        assert tokenizer.unknown_characters("cups puffs") == set()
        assert tokenizer.digest == phoneme_tokenizer.digest
        assert UNKNOWN_ID in tokenizer.encode("gym")
        assert tokenizer.unknown_characters("two gym") == set("gym")
    assert phoneme_tokenizer.encode("two , two")[3:-3] == [UNKNOWN_ID]  # eSpeak says nothing for a comma


def test_phonemes_may_do_without_the_boundary_of_words(phoneme_tokenizer: PhonemeTokenizer) -> None:
    (first,) = phoneme_tokenizer.spellings("cups", is_first=True)
    with_boundary, without = phoneme_tokenizer.spellings("cups", is_first=False)
    assert without == first
    assert with_boundary == phoneme_tokenizer.encode("two cups")[2:]


@pytest.fixture(scope="module")
def english() -> PhonemeTokenizer:
    pytest.importorskip("espeakng_loader")
    texts = ["the quick brown fox jumps over a lazy dog beside their house", "measure thirty boys charming things"]
    texts.append("two big birds saw four good fathers near her fair shop at home")
    return PhonemeTokenizerConfig(inventory="language", accents=["en-us", "en-gb"]).train(texts)


def pronounced(tokenizer: Tokenizer, ids: list[int]) -> str:
    return " ".join(tokenizer.pieces[token] for token in ids)


def test_the_inventory_of_a_language_spells_every_word_of_it(english: PhonemeTokenizer, tmp_path: Path) -> None:
    other = PhonemeTokenizerConfig(inventory="language").train(["two cups"])
    assert other.pieces == english.pieces  # whatever the texts say
    english.save(tmp_path)
    for tokenizer in (english, load_tokenizer(tmp_path)):
        for word in (
            "for",
            "reminder",
            "beer",
            "button",
            "coffee",
            "treasure",
            "jalapeno",
            "naïve",
            "schönbrunn",
            "fire",
        ):
            assert UNKNOWN_ID not in tokenizer.encode(word), word
        assert tokenizer.digest == english.digest != other.digest
        assert tokenizer.spellings("water", is_first=False) == english.spellings("water", is_first=False)
    assert english.decode(english.encode("brown dog")) == "brown dog"


def test_sounds_that_are_alike_share_a_token(english: PhonemeTokenizer) -> None:
    assert pronounced(english, english.encode("about")) == "ə b aʊ t"  # ɐbaʊt, as eSpeak NG writes it
    assert pronounced(english, english.encode("button")) == "b ʌ t ə n"  # bʌʔn̩
    assert pronounced(english, english.encode("bottle")).endswith("ə l")


def test_a_sound_that_no_training_text_has_is_said_as_its_nearest() -> None:
    pytest.importorskip("espeakng_loader")
    tokenizer = PhonemeTokenizerConfig(inventory="language").train(["men shall go up and under a deck"])
    assert pronounced(tokenizer, tokenizer.encode("measure")) == "m ɛ ʃ ɚ"  # and not ʒ, of which nothing was learnt
    assert pronounced(tokenizer, tokenizer.encode("boy"))[0] != "b"


def test_a_word_may_be_said_in_several_accents(english: PhonemeTokenizer) -> None:
    said = [pronounced(english, ids) for ids in english.spellings("water", is_first=True)]
    assert said == ["w ɔː ɾ ɚ", "w ɔː t ə"]
    later = [pronounced(english, ids) for ids in english.spellings("water", is_first=False)]
    assert later == ["  w ɔː ɾ ɚ", "w ɔː ɾ ɚ", "  w ɔː t ə", "w ɔː t ə"]
    assert len(english.spellings("two", is_first=True)) == 1  # alike in both
    with pytest.raises(TokenizerError, match="the word 'two' cannot be pronounced in xx-yy: language 'xx-yy'"):
        PhonemeTokenizerConfig(accents=["xx-yy"]).train(["two"]).spellings("two", is_first=True)


def test_a_language_whose_sounds_are_not_listed_is_refused() -> None:
    pytest.importorskip("espeakng_loader")
    with pytest.raises(
        TokenizerError, match=r"inventory: 'language' of 'fi', .* expected one of .*, or inventory: text"
    ):
        PhonemeTokenizerConfig(language="fi", inventory="language").train(["kaksi"])


def test_german_has_its_sounds_and_says_english_words_with_them() -> None:
    pytest.importorskip("espeakng_loader")
    tokenizer = PhonemeTokenizerConfig(language="de", inventory="language").train(["mach das licht im wohnzimmer an"])
    for word in ("küche", "zwölf", "heizung", "vierundzwanzig", "timer", "shuffle", "größer", "apfel"):
        assert UNKNOWN_ID not in tokenizer.encode(word), word


def test_the_change_of_voice_within_a_word_is_no_sound() -> None:
    pytest.importorskip("espeakng_loader")
    said = pronunciation.phonemes(["timer", "licht"], language="de")
    assert said["timer"][0] == "t"  # eSpeak NG writes (en)tˈaɪmə(de)
    assert "(" not in "".join(said["timer"]) + pronunciation.pronounce(["timer"], language="de")["timer"]


def test_each_sound_is_listed_once_and_replaced_by_listed_ones() -> None:
    for inventory in INVENTORIES.values():
        assert len(set(inventory.sounds)) == len(inventory.sounds)
        others = [*inventory.said_as.values(), *(one for ones in inventory.nearest.values() for one in ones)]
        assert {sound for other in others for sound in other.split()} <= set(inventory.sounds)
        assert not inventory.said_as.keys() & set(inventory.sounds)
        assert inventory.nearest.keys() <= set(inventory.sounds)


def test_phoneme_tokenizers_refuse_what_they_cannot_do(
    phoneme_tokenizer: PhonemeTokenizer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(TokenizerError, match="no text to learn phonemes from"):
        PhonemeTokenizerConfig().train([" "])
    phoneme_tokenizer.save(tmp_path)
    path = tmp_path / "tokenizer.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"lexicon": ["b"]}))
    with pytest.raises(TokenizerError, match=r"tokenizer\.json: lexicon: found \['b'\]; input should be an object"):
        load_tokenizer(tmp_path)
    path.write_text(json.dumps(json.loads(path.read_text()) | {"lexicon": None}))
    with pytest.raises(TokenizerError, match="'lexicon' is damaged; expected each word with its phonemes"):
        load_tokenizer(tmp_path)
    monkeypatch.setitem(__import__("sys").modules, "espeakng_loader", None)
    pronunciation._start.cache_clear()
    with pytest.raises(TokenizerError, match=r"the new word 'news' cannot be pronounced: .*pip install 'earshot"):
        phoneme_tokenizer.encode("news")


def test_sentencepiece_models_of_strangers_are_refused_by_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "sentencepiece.model"
    path.write_bytes(b"no model at all")
    write_json(tmp_path, {"kind": "sentencepiece", "sha256": hashlib.sha256(path.read_bytes()).hexdigest()})
    with pytest.raises(
        TokenizerError, match=r"sentencepiece\.model: not a sentencepiece model \(.*; copy the tokenizer"
    ):
        load_tokenizer(tmp_path)
    monkeypatch.setattr("asr.text.sentencepieces.LARGEST_MODEL", 4)
    write_json(tmp_path, {"kind": "sentencepiece", "sha256": hashlib.sha256(b"no mo").hexdigest()})
    with pytest.raises(TokenizerError, match=r"sentencepiece\.model: more than 0 MiB; expected a sentencepiece model"):
        load_tokenizer(tmp_path)


def test_a_sentencepiece_model_whose_pieces_are_no_text_is_refused(tmp_path: Path) -> None:
    SentencePieceTokenizerConfig(vocabulary_size=24).train(["turn the light on", "play some music", "stop"]).save(
        tmp_path
    )
    path = tmp_path / "sentencepiece.model"
    path.write_bytes(path.read_bytes().replace("▁".encode(), b"\xe2\x96\xff"))
    write_json(tmp_path, {"kind": "sentencepiece", "sha256": hashlib.sha256(path.read_bytes()).hexdigest()})
    with pytest.raises(
        TokenizerError, match=r"sentencepiece\.model: not a sentencepiece model \(.*; copy the tokenizer"
    ):
        load_tokenizer(tmp_path)
