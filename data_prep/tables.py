"""Tables with a header: .csv, quoted as spreadsheets do, and .tsv, where quotes are plain characters as a rule.

A quoted cell may hold line breaks. Nothing is cut or put together in silence: a row with more cells than the header, a
quote that nobody closes and one that swallows further rows are errors with their line.
"""

import csv
import io
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from data_prep.corpus import read_text
from data_prep.entries import CorpusError

WHOLLY_QUOTED = re.compile(r'"(?:[^"]|"")*"')
AUDIO_NAME = re.compile(r"\.(wav|flac|mp3|ogg|opus|oga|m4a|aac|aiff?|sph|wv|au|webm)$", re.IGNORECASE)


@dataclass(frozen=True)
class Row:
    """A row with the line that it begins in."""

    line: int
    cells: Mapping[str, str]


@dataclass(frozen=True)
class _Record:
    line: int  # where it begins
    cells: Sequence[str]


def read_rows(
    path: Path, columns: Sequence[str], *, remedy: str, too_few: str, quoted: bool | None = None
) -> list[Row]:
    """Returns the rows of a table below its header, which has these columns and perhaps more.

    `quoted` says whether quotes enclose cells; by default they do in a .csv, and in a .tsv only where its lines make no
    rows otherwise. `remedy` is said where a column is not there, `too_few` of a row without one of them.

    Raises:
        CorpusError: naming file and line: no such column or one twice, more cells than the header, a cell of these
            columns missing, a quote that does not close or closes in a later row.
    """
    text = read_text(path)
    delimiter = "\t" if path.suffix == ".tsv" else ","
    records = list(_records(path, text, delimiter, quoted=delimiter == "," if quoted is None else quoted))
    if quoted is None and delimiter == "\t":
        if all(len(record.cells) == len(records[0].cells) for record in records if record.cells):
            records = [_Record(record.line, [_unquoted(cell) for cell in record.cells]) for record in records]
        elif '"' in text:
            records = list(_records(path, text, delimiter, quoted=True))
    header = _named(records[0].cells, columns) if records else []
    missing = [column for column in dict.fromkeys(columns) if column not in header]
    if missing:
        found = ", ".join(header) or "nothing"
        other = next((sign for sign in ";\t,|" if sign in header[0]), None) if len(header) == 1 else None
        hint = f"its cells are parted by {other!r}: expected commas in a .csv, tabs in a .tsv" if other else remedy
        raise CorpusError(f"{path}: no column {', '.join(missing)}; found {found}; {hint}")
    if twice := [column for column in columns if header.count(column) > 1]:
        raise CorpusError(f"{path}:1: the column {twice[0]} twice; expected each once")
    rows = [_row(path, header, record) for record in records[1:] if record.cells]
    for row in rows:
        if not row.cells.keys() >= set(columns):
            raise CorpusError(f"{path}:{row.line}: {too_few}")
    return rows


def _named(header: Sequence[str], columns: Sequence[str]) -> list[str]:
    """Returns the names of a header, without the blanks around those that are `columns` without them."""
    wanted = {column.strip(): column for column in columns if column not in header}
    return [wanted.get(name.strip(), name) for name in header]


def _records(path: Path, text: str, delimiter: str, *, quoted: bool) -> Iterator[_Record]:
    lines = io.StringIO(text, newline="\n")  # the parser sees each line with its end, and joins those of a quoted cell
    quoting = csv.QUOTE_MINIMAL if quoted else csv.QUOTE_NONE
    reader = csv.reader(lines, delimiter=delimiter, quoting=quoting, strict=True)
    while True:
        line = reader.line_num + 1
        try:
            cells = next(reader, None)
        except csv.Error as error:
            if "end of data" in str(error) or "expected after" in str(error):
                raise CorpusError(
                    f"{path}:{line}: a quote opens here and does not close at a cell's end (line {reader.line_num}); "
                    f'expected "a cell, in quotes" with each quote inside doubled'
                ) from error
            raise CorpusError(f"{path}:{line}: {error}; expected rows that end in a line feed") from error
        if cells is None:
            return
        if reader.line_num > line and (row := _swallowed(cells, delimiter)):
            raise CorpusError(
                f"{path}:{line}: a quote opens here and closes in line {reader.line_num}, behind the row '{row}'; "
                f"expected it to close in its own row"
            )
        yield _Record(line, cells)


def _swallowed(cells: Sequence[str], delimiter: str) -> str | None:
    """Returns a line inside a quoted cell that is a row by itself: one with a recording's name among its cells."""
    inside = (line for cell in cells for line in cell.split("\n")[1:])
    for line in inside:
        parts = [part.strip(' "\r') for part in line.split(delimiter)]
        if len(parts) > 1 and any(AUDIO_NAME.search(part) for part in parts):
            return line.strip()
    return None


def _unquoted(cell: str) -> str:
    return cell[1:-1].replace('""', '"') if WHOLLY_QUOTED.fullmatch(cell) else cell


def _row(path: Path, header: Sequence[str], record: _Record) -> Row:
    if len(record.cells) > len(header):
        raise CorpusError(
            f"{path}:{record.line}: {len(record.cells)} cells, more than the {len(header)} of the header: "
            f"{' | '.join(record.cells)[:120]}; expected a cell with the delimiter in it to be quoted"
        )
    return Row(record.line, dict(zip(header, record.cells)))
