"""data_prep/tables.py: cells as they were meant, and a line for everything else."""

from pathlib import Path

import pytest

from data_prep.entries import CorpusError
from data_prep.tables import Row, read_rows

COLUMNS = ("audio", "text")


def read(path: Path, content: str) -> list[Row]:
    path.write_bytes(content.encode())
    return read_rows(path, COLUMNS, remedy="say --text-column", too_few="audio or text is missing")


def texts(path: Path, content: str) -> list[str]:
    return [row.cells["text"] for row in read(path, content)]


@pytest.mark.parametrize(("suffix", "cut"), [("csv", ","), ("tsv", "\t")])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_quoted_line_breaks_stay_in_their_cell(tmp_path: Path, suffix: str, cut: str, end: str) -> None:
    rows = [f"audio{cut}text{cut}who", f'a.wav{cut}"turn on\nthe light"{cut}ann', f'b.wav{cut}"say ""go"""{cut}bob']
    rows += [f"c.wav{cut}line\u2028break\f{cut}cy"]
    path = tmp_path / f"t.{suffix}"
    found = read(path, "\ufeff" + end.join(rows) + end)
    assert [row.cells["text"] for row in found] == ["turn on\nthe light", 'say "go"', "line\u2028break\f"]
    assert [row.cells["who"] for row in found] == ["ann", "bob", "cy"]
    assert [row.line for row in found] == [2, 4, 5]


def test_quotes_in_a_tsv_are_characters_where_its_lines_are_rows(tmp_path: Path) -> None:
    content = 'audio\ttext\na.wav\t"yes\nb.wav\tperhaps "so" \nc.wav\tno"\nd.wav\t"He said ""hi"""\n'
    assert texts(tmp_path / "t.tsv", content) == ['"yes', 'perhaps "so" ', 'no"', 'He said "hi"']


@pytest.mark.parametrize(
    ("name", "content", "fault"),
    [
        ("comma.csv", "audio,text\na.wav,turn on, please\n", r"comma\.csv:2: 3 cells, more than the 2 of the header"),
        ("wide.tsv", "audio\ttext\na.wav\ton\nb.wav\toff\tnow\n", r"wide\.tsv:3: 3 cells, more than the 2"),
        ("open.csv", 'audio,text\na.wav,"turn on\nb.wav,hello\nc.wav,bye\n', r"open\.csv:2: a quote opens here"),
        ("open.csv", 'audio,text\na.wav,x\nb.wav,"on\nc.wav,"off"\n', r"open\.csv:3: a quote opens here"),
        (
            "open.csv",
            'audio,text\na.wav,"on\nb.wav,x\nc.wav,off"\n',
            r"open\.csv:2: .* closes in line 4, behind the row",
        ),
        ("open.tsv", 'audio\ttext\na.wav\t"on\nand off\nb.wav\tx\n', r"open\.tsv:2: a quote opens here"),
        (
            "odd.csv",
            'audio,text\na.wav,"on" off\n',
            r"odd\.csv:2: a quote opens here and does not close at a cell's end",
        ),
        ("mac.csv", "audio,text\ra.wav,on\r", r"mac\.csv:1: .*expected rows that end in a line feed"),
        ("twice.csv", "audio,text,text\na.wav,on,off\n", r"twice\.csv:1: the column text twice; expected each once"),
        ("twice.csv", " text, text ,audio\nx,y,a.wav\n", r"twice\.csv:1: the column text twice; expected each once"),
        (
            "semi.csv",
            "audio;text\na.wav;on\n",
            r"no column audio, text; found audio;text; its cells are parted by ';'",
        ),
        ("tabs.csv", "audio\ttext\na.wav\ton\n", r"its cells are parted by '\\t': expected commas in a \.csv"),
        ("case.csv", "Audio, text\na.wav,on\n", r"no column audio; found Audio, text; say --text-column"),
        ("empty.csv", "", r"empty\.csv: no column audio, text; found nothing; say --text-column"),
        ("few.csv", "audio,text\na.wav,on\nb.wav\n", r"few\.csv:3: audio or text is missing"),
    ],
)
def test_what_makes_no_rows_is_named_with_its_line(tmp_path: Path, name: str, content: str, fault: str) -> None:
    with pytest.raises(CorpusError, match=fault):
        read(tmp_path / name, content)


def test_a_transcript_with_commas_and_line_breaks_is_no_row(tmp_path: Path) -> None:
    assert texts(tmp_path / "t.csv", 'audio,text\na.wav,"on,\nplease, now"\n\nb.wav,off\n') == [
        "on,\nplease, now",
        "off",
    ]


@pytest.mark.parametrize("header", [" audio , text ", "audio\t, text", "audio,text"])
def test_blanks_around_the_names_of_columns_do_not_count(tmp_path: Path, header: str) -> None:
    assert texts(tmp_path / "t.csv", f"{header}\na.wav,turn on\n") == ["turn on"]


def test_a_name_without_blanks_comes_before_one_with_them(tmp_path: Path) -> None:
    assert texts(tmp_path / "t.csv", " text,audio,text\nno,a.wav,yes\n") == ["yes"]
