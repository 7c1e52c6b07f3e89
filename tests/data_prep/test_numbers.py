"""data_prep/numbers.py, transcripts.py: numbers as they are said, and a count of every character that goes."""

import json
from pathlib import Path

import numpy as np
import pytest
import soundfile

from asr.text.normalization import normalize_transcript
from data_prep import common_voice, folder
from data_prep.corpus import split_up
from data_prep.entries import CorpusError, Entry
from data_prep.numbers import NumberSpeller, knows_numbers
from data_prep.options import corpus_parser, splitting_of
from data_prep.transcripts import TranscriptCleaner

ENGLISH = {
    "$25": "twenty five dollars",
    "it costs $1": "it costs one dollar",
    "$3.50": "three dollars and fifty cents",
    "$0.99": "ninety nine cents",
    "-$5": "minus five dollars",
    "$-5": "minus five dollars",
    "£2.01": "two pounds and one penny",
    "25 €": "twenty five euros",
    "¥1,000": "one thousand yen",
    "$3.5 million": "three point five million dollars",
    "-5": "minus five",
    "−5": "minus five",
    "it is -5.25 degrees": "it is minus five point two five degrees",
    "(-5)": "minus five",
    "+5": "plus five",
    "10%": "ten percent",
    "3.5": "three point five",
    "0.5": "zero point five",
    "0": "zero",
    "1st 2nd 3rd 21st 101st": "first second third twenty first one hundred first",
    "12:30": "twelve thirty",
    "9:05": "nine oh five",
    "12:00": "twelve o'clock",
    "7:30am": "seven thirty am",
    "12:00 pm": "twelve pm",
    "2x": "two x",
    "x-2": "x two",
    "mp3": "mp three",
    "1,000 people": "one thousand people",
    "1984": "nineteen eighty four",
    "in 2005": "in two thousand five",
    "in 2015": "in twenty fifteen",
    "the 1980s": "the nineteen eighties",
    "007": "zero zero seven",
    "room 0123": "room zero one two three",
    "call 5551234567": "call five five five one two three four five six seven",
    "555-1234": "five five five one two three four",
    "123456789012345678": "one two three four five six seven eight nine zero one two three four five six seven eight",
    "5–10": "five to ten",
    "20°C": "twenty degrees celsius",
    "5°": "five degrees",
    "2½ cups": "two and a half cups",
    "½": "one half",
    "1.2.3": "one point two point three",
    "at 5.": "at five",
    "٣": "three",
}


@pytest.mark.parametrize(("written", "said"), ENGLISH.items())
def test_numbers_are_written_as_they_are_said(written: str, said: str) -> None:
    cleaner = TranscriptCleaner(language="en")
    assert cleaner.clean(written) == said
    assert cleaner.clean(said) == said


@pytest.mark.parametrize(
    ("language", "written", "said"),
    [
        ("de", "25 € sind 1.000 Cent", "fünfundzwanzig euro sind eintausend cent"),
        ("de", "-3,5 °C um 8:00", "minus drei komma fünf grad celsius um acht uhr"),
        ("de", "12:30", "zwölf uhr dreißig"),
        ("fr", "le 1er, 3,5 %", "le premier trois virgule cinq pour cent"),
        ("fr", "20 000 €", "vingt mille euros"),
        ("es", "1º y 1ª", "primero y primera"),
        ("it", "10%", "dieci per cento"),
        ("nl", "€ 2,50", "twee euro en vijftig cent"),
        ("pt-BR", "25", "vinte e cinco"),
        ("sv", "3,5", "tre komma fem"),
        ("ru", "-25", "минус двадцать пять"),
        ("ja", "25", "二十五"),
    ],
)
def test_other_languages_have_their_own_words(language: str, written: str, said: str) -> None:
    assert TranscriptCleaner(language=language).clean(written) == said


def test_a_language_without_numbers_is_refused() -> None:
    with pytest.raises(CorpusError, match=r"--language xx: no words for its numbers are known; expected one of af, ak"):
        NumberSpeller("xx")
    assert knows_numbers("en-GB")
    assert not knows_numbers("xx")


def test_what_is_dropped_is_counted_by_character() -> None:
    cleaner = TranscriptCleaner(language="en")
    for text in ("₹100, #5", "a & b, c", "don't stop", "3:1"):
        cleaner.count(text)
    spelled, dropped = cleaner.notes()
    assert spelled.startswith(
        "numbers written out in 2 transcripts as the language 'en' says them (if that is not what is spoken, say "
        "--language CODE; none leaves digits): '₹100, #5' is"
    )
    assert dropped == "dropped from transcripts: '#' 1, '&' 1, '₹' 1, ',' 2, ':' 1"
    russian = TranscriptCleaner(language="ru")  # its fractions are not read digit by digit, so nothing is made up
    russian.count("3,5 10%")
    assert "'%' 1, ',' 1" in russian.notes()[-1]


def test_old_transcripts_stay_as_they_were() -> None:
    for text in ENGLISH:
        assert TranscriptCleaner().clean(text) == normalize_transcript(text)
        assert TranscriptCleaner(keep_text=True, language="en").clean(text) == text
    cleaner = TranscriptCleaner()
    cleaner.count("it's 5%")
    assert cleaner.notes() == [
        "1 transcripts hold digits, which nobody says; --language CODE, such as en, writes them out",
        "dropped from transcripts: '%' 1",
    ]


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    for number, name in enumerate(("a", "b")):
        (tmp_path / "corpus" / "clips").mkdir(parents=True, exist_ok=True)
        samples = np.random.default_rng(number).uniform(-0.1, 0.1, 16_000)
        soundfile.write(tmp_path / "corpus" / f"{name}.wav", samples, 16_000)
        soundfile.write(tmp_path / "corpus" / "clips" / f"{name}.wav", samples, 16_000)
    return tmp_path / "corpus"


@pytest.mark.parametrize(
    ("options", "text"), [([], "that is twenty five dollars"), (["--language", "none"], "that is 25")]
)
def test_the_summary_says_what_became_of_numbers(corpus: Path, tmp_path: Path, capsys, options, text) -> None:
    (corpus / "t.csv").write_text("audio,text\na.wav,that is $25\n")
    shares = ["--split-by", "id", "--dev-share", "0", "--test-share", "0"]
    assert folder.main([str(corpus), str(tmp_path / "out"), "--transcripts", "t.csv", *shares, *options]) == 0
    assert json.loads((tmp_path / "out" / "train.jsonl").read_text())["text"] == text
    said = " ".join(capsys.readouterr().out.split())
    assert ("numbers written out in 1 transcripts" if not options else "1 transcripts hold digits") in said
    assert ("dropped from transcripts: '$' 1" in said) == bool(options)


def test_common_voice_says_its_language_itself(corpus: Path, tmp_path: Path) -> None:
    for name, clip in (("train", "a"), ("dev", "b"), ("test", "b")):
        row = f"{clip}\t{clip}.wav\tDas sind 25 €\tde"
        (corpus / f"{name}.tsv").write_text(f"client_id\tpath\tsentence\tlocale\n{row}\n")
    assert common_voice.main([str(corpus), str(tmp_path / "out"), "--allow-shared-speakers"]) == 0
    assert json.loads((tmp_path / "out" / "train.jsonl").read_text())["text"] == "das sind fünfundzwanzig euro"


def test_a_root_keeps_recordings_of_a_corpus_inside(corpus: Path, tmp_path: Path, capsys) -> None:
    (corpus / "in").mkdir()
    (corpus / "a.wav").rename(corpus / "in" / "a.wav")
    (corpus / "in" / "b.wav").symlink_to(corpus / "b.wav")
    (corpus / "t.csv").write_text("audio,text\nin/a.wav,on\nin/b.wav,off\nin/../b.wav,off\n")
    options = ["--transcripts", "t.csv", "--split-by", "id", "--dev-share", "0", "--test-share", "0"]
    folder.main([str(corpus), str(tmp_path / "out"), *options, "--root", str(corpus / "in")])
    assert json.loads((tmp_path / "out" / "train.jsonl").read_text())["text"] == "on"
    dropped = [json.loads(line) for line in (tmp_path / "out" / "dropped.jsonl").open()]
    assert [each["reason"] for each in dropped] == ["outside of --root"] * 2


def test_one_sentence_in_digits_and_in_words_stays_in_one_split() -> None:
    entries = [Entry(f"{n}", Path(f"/{n}.wav"), f"turn on {word}") for n, word in enumerate(("5", "five", "6", "six"))]
    options = splitting_of(corpus_parser("", split_by="text", dev=0.0, test=0.5).parse_args(["corpus", "out"]))
    splits = split_up(entries, options).splits
    assert sorted(sorted(entry.id for entry in splits[name]) for name in ("train", "test")) == [["0", "1"], ["2", "3"]]
