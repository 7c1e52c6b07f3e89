"""An n-gram model as a table, and the ARPA files that hold one.

    \\data\\
    ngram 1=42
    \\1-grams:
    -1.523	turn	-0.301        log10 of the probability, the words, log10 of the backoff weight
"""

import contextlib
import gzip
import itertools
import math
import re
import zlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float64, Int64

from asr.files.replacing import replacing

LONGEST_LINE = 1 << 16  # characters; 20 words of 1,000 letters fit
LARGEST_UNPACKED = 64 << 30  # bytes
LARGEST_RATIO = 100  # unpacked bytes to packed ones; text of n-grams packs to a fifth
FREE_UNPACKED = 16 << 20  # bytes that any file may unpack to
SMALLEST_LINE = 4  # bytes of an n-gram: a digit, a tab, a character, a line feed
LONGEST_GRAM = 20  # symbols

LOG_ROUNDING = 1e-4  # how far above 0 the logarithm of a probability of 1 may be written

UNKNOWN_SYMBOL, START_SYMBOL, END_SYMBOL = "<unk>", "<s>", "</s>"
LOG_OF_NEVER = -99.0  # how ARPA files write the probability of <s>, which is never predicted


class ARPAError(ValueError):
    """An ARPA file that cannot be read or written."""


@dataclass(frozen=True)
class Order:
    """The n-grams of one length: natural logarithms of p(last symbol | the others) and of the backoff weight."""

    grams: Int64[np.ndarray, "gram symbol"]  # places in the table's symbols
    log_probs: Float64[np.ndarray, " gram"]
    backoffs: Float64[np.ndarray, " gram"]  # 0 where nothing longer begins with the n-gram


@dataclass(frozen=True)
class NGramTable:
    symbols: tuple[str, ...]  # in the order of the unigrams
    orders: tuple[Order, ...]  # of 1, 2, 3 ... symbols

    @property
    def num_grams(self) -> int:
        return sum(len(order.grams) for order in self.orders)


def write_arpa(path: Path, table: NGramTable) -> None:
    """Write a table, whole or not at all. Raises ARPAError for a symbol that the format cannot hold."""
    for symbol in table.symbols:
        if not symbol or symbol.split() != [symbol]:
            raise ARPAError(f"{path}: the symbol {symbol!r}; expected one without white space")
    with replacing(path) as beside, beside.open("w", encoding="utf-8", newline="\n") as file:
        file.write("\\data\\\n")
        file.writelines(f"ngram {n}={len(order.grams)}\n" for n, order in enumerate(table.orders, 1))
        for n, order in enumerate(table.orders, 1):
            file.write(f"\n\\{n}-grams:\n")
            file.writelines(_lines(table, order, has_backoffs=n < len(table.orders)))
        file.write("\n\\end\\\n")


def _lines(table: NGramTable, order: Order, *, has_backoffs: bool) -> Iterator[str]:
    logs, backoffs = order.log_probs / math.log(10), order.backoffs / math.log(10)
    for gram, log_prob, backoff in zip(order.grams.tolist(), logs.tolist(), backoffs.tolist(), strict=True):
        text = " ".join(table.symbols[place] for place in gram)
        yield f"{log_prob:.7g}\t{text}\t{backoff:.7g}\n" if has_backoffs else f"{log_prob:.7g}\t{text}\n"


def read_arpa(path: Path) -> NGramTable:
    """Read a file, `.gz` or not. Raises ARPAError that names the line."""
    with _opened(path) as file:
        return _Reader(path, file).read()


def read_words(path: Path) -> list[str]:
    """Returns the 1-grams of a file without <unk>, <s> and </s>; what is longer is not read. Raises ARPAError."""
    with _opened(path) as file:
        symbols = _Reader(path, file).symbols()
    return [symbol for symbol in symbols if symbol not in (UNKNOWN_SYMBOL, START_SYMBOL, END_SYMBOL)]


def check_counts(path: Path) -> None:
    """Compares the numbers of n-grams that a file says it has with its size, for other readers that trust them.

    Raises ARPAError.
    """
    with _opened(path) as file:
        _Reader(path, file).sizes()


def _repeats(grams: Int64[np.ndarray, "gram symbol"]) -> bool:
    """Returns whether an n-gram is there twice; by sorting, for a set of them would take ten times their memory."""
    ordered = grams[np.lexsort(grams.T)]
    return bool((ordered[1:] == ordered[:-1]).all(axis=1).any())


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[Iterable[str]]:
    try:
        # Lines end at line feeds only, and fields at spaces and tabs: a word may hold any other white space.
        opened: Any = gzip.open if path.suffix == ".gz" else open
        with opened(path, "rt", encoding="utf-8-sig", newline="\n") as file:
            yield _bounded_lines(path, file)
    except FileNotFoundError:
        raise ARPAError(f"{path}: no such file; expected an ARPA file or a run folder of asr.train") from None
    except (UnicodeDecodeError, gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise ARPAError(f"{path}: not an ARPA file ({error}); expected text, or text packed by gzip") from None


def _bounded_lines(path: Path, file: Any) -> Iterator[str]:
    """Yields the lines of a file; ARPAError for one that memory should not have to hold, and where a gzip file is a
    bomb.
    """
    largest, unpacked = _largest_unpacked(path), 0
    for number in itertools.count(1):
        line = file.readline(LONGEST_LINE + 1)
        if not line:
            return
        unpacked += len(line)  # characters, of which none is shorter than a byte
        if len(line) > LONGEST_LINE:
            raise ARPAError(f"{path}:{number}: a line of more than {LONGEST_LINE:,} characters; expected an n-gram")
        if unpacked > largest:
            raise ARPAError(
                f"{path}:{number}: {path.stat().st_size:,} bytes unpack to more than {largest:,}; expected n-grams, "
                "which pack to a fifth; unpack it by gzip where it is one"
            )
        yield line


def _largest_unpacked(path: Path) -> int:
    """Returns the most bytes that a file's text may have."""
    size = path.stat().st_size
    return min(LARGEST_UNPACKED, max(FREE_UNPACKED, size * LARGEST_RATIO)) if path.suffix == ".gz" else size


class _Reader:
    """One pass over the lines of a file."""

    def __init__(self, path: Path, lines: Iterable[str]) -> None:
        self.path, self.number = path, 0
        self._lines = iter(lines)
        self._largest = _largest_unpacked(path)

    def read(self) -> NGramTable:
        sizes = self.sizes()
        places: dict[str, int] = {}
        orders = [self._order(n, size, places) for n, size in enumerate(sizes, 1)]
        self._expect("\\end\\")
        for symbol in (START_SYMBOL, END_SYMBOL):
            if symbol not in places:
                raise ARPAError(f"{self.path}: no {symbol} among its 1-grams; expected sentences with both ends")
        return NGramTable(tuple(places), tuple(orders))

    def symbols(self) -> list[str]:
        places: dict[str, int] = {}
        self._order(1, self.sizes()[0], places)
        return list(places)

    def _next(self) -> str:
        """Returns the next line that is not empty, without its end."""
        for line in self._lines:
            self.number += 1
            if stripped := line.strip(" \t\r\n"):
                return stripped
        self.number += 1
        return "the end of the file"

    def _fail(self, found: str, expected: str) -> ARPAError:
        return ARPAError(f"{self.path}:{self.number}: found {found!r}; expected {expected}")

    def _expect(self, wanted: str) -> None:
        if (line := self._next()) != wanted:
            raise self._fail(line, wanted)

    def sizes(self) -> Sequence[int]:
        """Returns the number of n-grams of each length, as the file says it; none are more than its bytes can hold."""
        self._expect("\\data\\")
        sizes: list[int] = []
        while match := re.fullmatch(rf"ngram {len(sizes) + 1}\s*=\s*(\d+)", line := self._next()):
            size = int(match[1]) if len(match[1]) < 16 else 10**16
            if (len(sizes) + 1 > LONGEST_GRAM) or size * SMALLEST_LINE > self._largest:
                expected = f"at most {LONGEST_GRAM} lengths, and no more n-grams than {self._largest:,} bytes can hold"
                raise self._fail(line, expected)
            sizes.append(size)
        if not sizes or line != "\\1-grams:":
            raise self._fail(line, f"'ngram {len(sizes) + 1}=NUMBER'" if not sizes else "'\\1-grams:'")
        if not sizes[0]:
            raise self._fail(line, "1-grams; the file says that there are none")
        return sizes

    def _order(self, n: int, size: int, places: dict[str, int]) -> Order:
        if n > 1:
            self._expect(f"\\{n}-grams:")
        grams = np.zeros((size, n), np.int64)
        values = np.zeros((2, size))
        for row in range(size):
            line = self._next()
            fields = re.split("[ \t]+", line)
            if len(fields) not in (n + 1, n + 2):
                raise self._fail(line, f"log10 probability, {n} of the 1-grams, log10 backoff weight")
            try:
                values[0, row] = float(fields[0])
                values[1, row] = float(fields[n + 1]) if len(fields) == n + 2 else 0.0
                if n == 1:
                    places.setdefault(fields[1], row)
                grams[row] = [places[symbol] for symbol in fields[1 : n + 1]]
            except (ValueError, IndexError, KeyError):
                raise self._fail(line, f"log10 probability, {n} of the 1-grams, log10 backoff weight") from None
            if not -math.inf < values[0, row] <= LOG_ROUNDING or not math.isfinite(values[1, row]):
                raise self._fail(line, "a finite log10 of a probability, 0 at most, and a finite backoff weight")
        if n > 1 and _repeats(grams):
            raise ARPAError(f"{self.path}:{self.number}: a {n}-gram twice; expected each once")
        if n == 1 and len(places) != size:
            raise ARPAError(f"{self.path}: a 1-gram twice; expected each once")
        log_probs, backoffs = values * math.log(10)
        return Order(grams, log_probs, backoffs)
