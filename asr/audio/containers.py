"""Reads what a container promises and whether the file keeps it: libsndfile reads a cut file without a word.

    missing = shortfall(path)      # "95,978 bytes of samples; expected 192,000 by its header", or None

FLAC is not here: its decoder notices. A container that promises nothing (a WAV written to a pipe, an MP3 without a
table of contents that ends between two frames) is taken as it is.
"""

import mmap
import os
import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO

LONGEST_PAGE = 27 + 255 + 255 * 255  # bytes of an Ogg page (RFC 3533, section 6)
UNKNOWN_SIZE = 0xFFFF_F000  # from here on, a 32-bit size says that a stream's length was not known

MP3_KILOBITS = {  # ISO 11172-3 and 13818-3, layer III, by the header's index; version 2 and 2.5 share a row
    1: (0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320),
    2: (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
}
MP3_HERTZ = (44_100, 48_000, 32_000)


def shortfall(path: Path) -> str | None:
    """Returns what is not there of what the container promises, in words, or None. Raises OSError where it cannot be
    read.
    """
    with path.open("rb") as file:
        head = file.read(16)
        check = _check_mp4 if head[4:8] == b"ftyp" else None
        check = check or next((check for magic, check in _CHECKS.items() if head.startswith(magic)), None)
        if check is None and (head.startswith(b"ID3") or _mp3_frame_bytes(head) is not None):
            check = _check_mp3
        file.seek(0)
        return check(file, os.fstat(file.fileno()).st_size) if check else None


def _compare(present: int, promised: int) -> str | None:
    if present >= promised:
        return None
    return f"{max(present, 0):,} bytes of samples; expected {promised:,} by its header"


def _chunks(file: IO[bytes], *, start: int, head: str) -> Iterator[tuple[bytes, int]]:
    """Name and size of each chunk from `start` on, the file left at its content; `head` is their struct."""
    file.seek(start)
    while len(read := file.read(struct.calcsize(head))) == struct.calcsize(head):
        name, size = struct.unpack(head, read)
        begin = file.tell()
        yield name, size
        if size < 0:
            return
        file.seek(begin + size + size % 2)


def _check_wav(file: IO[bytes], size: int) -> str | None:
    order = ">" if file.read(4) == b"RIFX" else "<"
    for name, promised in _chunks(file, start=12, head=f"{order}4sI"):
        if name == b"data":
            begin = file.tell()
            if promised >= UNKNOWN_SIZE:
                return None
            return _compare(size - begin, promised) or _left_over(file, begin, size=size, promised=promised)
    return None


def _left_over(file: IO[bytes], begin: int, *, size: int, promised: int) -> str | None:
    """Names what is left over. A recorder that died has not written its size; what follows the samples are chunks with
    a name, or padding.
    """
    end = begin + promised + promised % 2
    file.seek(end)
    name = file.read(4)
    if size - end < 8 or all(32 <= letter < 127 for letter in name) or (promised and not any(name)):
        return None
    return f"{size - end:,} bytes behind what its header promises; expected its size to cover them"


def _check_rf64(file: IO[bytes], size: int) -> str | None:
    """Checks a file by its ds64 chunk. The sizes that 32 bits cannot hold are in the ds64 chunk: of the file, of the
    samples, ...
    """
    promised = 0
    for name, small in _chunks(file, start=12, head="<4sI"):
        if name == b"ds64" and len(sizes := file.read(16)) == 16:
            promised = struct.unpack("<QQ", sizes)[1]
        if name == b"data":
            return _compare(size - file.tell(), promised if small >= UNKNOWN_SIZE else small)
    return None


def _check_aiff(file: IO[bytes], size: int) -> str | None:
    for name, promised in _chunks(file, start=12, head=">4sI"):
        if name == b"SSND":
            return None if promised >= UNKNOWN_SIZE else _compare(size - file.tell() - 8, promised - 8)
    return None


def _check_caf(file: IO[bytes], size: int) -> str | None:
    file.seek(8)
    while len(head := file.read(12)) == 12:  # chunks are not padded to an even size here
        name, promised = struct.unpack(">4sq", head)
        if name == b"data":
            return None if promised < 0 else _compare(size - file.tell(), promised)
        if promised < 0:
            return None
        file.seek(promised, os.SEEK_CUR)
    return None


def _check_mp4(file: IO[bytes], size: int) -> str | None:
    """Boxes of a size and a name follow each other (ISO 14496-12, section 4.2); `moov` is the index, often the last."""
    names, place = set(), 0
    while place < size:
        file.seek(place)
        head = file.read(16)
        if len(head) < 8:
            return f"{len(head)} bytes of a box's head; expected 8"
        length, name = struct.unpack(">I4s", head[:8])
        if length == 1 and len(head) == 16:
            length = struct.unpack(">Q", head[8:])[0]
        length = length or size - place  # 0: to the end of the file
        names.add(name)
        if length < 8:
            return f"a box of {length} bytes; expected 8 or more"
        if place + length > size:
            return f"{size - place:,} bytes of its box {name.decode('latin-1')!a}; expected {length:,}"
        place += length
    return None if b"moov" in names else "no box 'moov', its index; expected one"


def _check_w64(file: IO[bytes], size: int) -> str | None:
    """Chunks named by 16 bytes, their sizes with their heads of 24 bytes, each begun at a multiple of 8."""
    file.seek(40)
    while len(head := file.read(24)) == 24:
        promised = struct.unpack("<q", head[16:])[0] - 24
        if head[:4] == b"data":
            return _compare(size - file.tell(), promised)
        if promised < 0:
            return None
        file.seek(promised + -promised % 8, os.SEEK_CUR)
    return None


def _check_au(file: IO[bytes], size: int) -> str | None:
    _, start, promised = struct.unpack(">4sII", file.read(12).ljust(12, b"\0"))
    return None if promised >= UNKNOWN_SIZE else _compare(size - start, promised)


def _check_nist(file: IO[bytes], size: int) -> str | None:
    """Checks a file by its head of text: `sample_count -i 16000`, `sample_n_bytes -i 2`, `channel_count -i 1`."""
    head = file.read(1024).decode("ascii", "replace")
    numbers = {}
    for line in head.split("\n"):
        if len(words := line.split()) == 3 and words[1] == "-i" and words[2].isdecimal():
            numbers[words[0]] = int(words[2])
    start = next(iter(head.split()[1:2]), "")
    if "sample_count" not in numbers or not start.isdecimal() or "shorten" in head:
        return None
    width = numbers.get("sample_n_bytes", 2) * numbers.get("channel_count", 1)
    return _compare(size - int(start), numbers["sample_count"] * width)


def _check_ogg(file: IO[bytes], size: int) -> str | None:
    """The last page of a stream is whole and says that it is the last (RFC 3533, section 6)."""
    file.seek(max(0, size - LONGEST_PAGE))
    tail = file.read()
    place = tail.rfind(b"OggS")
    if place < 0:
        return "no page at its end; expected the last page of an Ogg stream"
    page = tail[place:]
    num_segments = page[26] if len(page) > 26 else 0
    length = 27 + num_segments + sum(page[27 : 27 + num_segments])
    if len(page) < max(length, 28):
        return f"{len(page):,} bytes of its last page; expected {max(length, 28):,}"
    if not page[5] & 4:
        return "its last page is not marked as such; expected the end of the stream"
    return None


def _check_mp3(file: IO[bytes], size: int) -> str | None:
    """Frames follow each other to the end, as many as a Xing or Info frame says, and the last one is whole."""
    if size < 4:
        return None
    with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        frames = _walk_mp3(data)
    if frames.end > size:
        return f"{frames.length - frames.end + size:,} bytes of its last frame; expected {frames.length:,}"
    if frames.promised is not None and frames.found < frames.promised:
        return f"{frames.found:,} frames in a row; expected {frames.promised:,} by its header"
    return None


def with_mp3_table(path: Path) -> bytes | None:
    """Returns an MP3 of varying bit rate without a table of contents, with one; None for every other file.

    Without it, libsndfile guesses the length from the first frame, and stops there.
    """
    with path.open("rb") as file:
        if _mp3_frame_bytes(head := file.read(16)) is None and not head.startswith(b"ID3"):
            return None
        with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
            frames = _walk_mp3(data)
            if frames.promised is not None or not frames.is_varying:
                return None
            return _table_frame(data[frames.start : frames.start + 4], frames.found) + data[frames.start :]


def _table_frame(head: bytes, num_frames: int) -> bytes:
    """Returns a silent frame like the one of this head, at its ninth bit rate, with Xing's table: the
    number of frames.
    """
    head = bytes((head[0], head[1] | 1, head[2] & 0x0F | 0x90, head[3]))
    is_mono, is_version_1 = head[3] >> 6 == 3, head[1] >> 3 & 3 == 3
    side = (17 if is_mono else 32) if is_version_1 else (9 if is_mono else 17)  # bytes of side information
    table = b"Xing" + (1).to_bytes(4, "big") + num_frames.to_bytes(4, "big")
    return (head + bytes(side) + table).ljust(_mp3_frame_bytes(head) or 0, b"\0")


@dataclass(frozen=True)
class _MP3Frames:
    """The frames of an MP3 that follow each other without a gap."""

    found: int  # whole ones, without that of the table of contents
    promised: int | None  # by the table of contents
    is_varying: bool  # in their bit rate
    start: int  # byte where the first one begins
    end: int  # byte where the last one ends, or would
    length: int  # bytes of the last one


def _walk_mp3(data: mmap.mmap) -> _MP3Frames:
    start, found, promised, length = _after_id3(data), 0, None, 0
    rates: set[int] = set()
    first = data[start : start + 200]
    tables = [first.find(name) for name in (b"Xing", b"Info") if name in first]
    if tables and len(first) > tables[0] + 12 and first[tables[0] + 7] & 1:
        promised = int.from_bytes(first[tables[0] + 8 : tables[0] + 12], "big")
        found = -1
    place = start
    while (following := _mp3_frame_bytes(data[place : place + 4])) is not None:
        rates.add(data[place + 2] >> 4)
        length = following
        place += length
        found += place <= len(data)
    return _MP3Frames(max(found, 0), promised, is_varying=len(rates) > 1, start=start, end=place, length=length)


def _after_id3(data: mmap.mmap) -> int:
    """Returns where an ID3v2 tag ends; its size is written in four times seven bits."""
    if data[:3] != b"ID3" or len(data) < 10:
        return 0
    size = 0
    for byte in data[6:10]:
        size = size << 7 | byte & 0x7F
    return 10 + size + (10 if data[5] & 0x10 else 0)


def _mp3_frame_bytes(head: bytes) -> int | None:
    """Bytes of the frame that begins with these four; None where none of layer III does."""
    if len(head) < 4 or head[0] != 0xFF or head[1] & 0xE6 != 0xE2:
        return None
    version = {3: 1, 2: 2, 0: 4}.get(head[1] >> 3 & 3)  # 4 stands for 2.5: a quarter of the rate
    rate, hertz = head[2] >> 4, head[2] >> 2 & 3
    if version is None or rate in (0, 15) or hertz == 3:
        return None
    kilobits = MP3_KILOBITS[1 if version == 1 else 2][rate]
    samples_over_8 = 144 if version == 1 else 72
    return samples_over_8 * kilobits * 1000 * version // MP3_HERTZ[hertz] + (head[2] >> 1 & 1)


_CHECKS: dict[bytes, Callable[[IO[bytes], int], str | None]] = {
    b"RIFF": _check_wav,
    b"RIFX": _check_wav,
    b"RF64": _check_rf64,
    b"BW64": _check_rf64,
    b"FORM": _check_aiff,
    b"caff": _check_caf,
    b"riff\x2e\x91\xcf\x11": _check_w64,
    b".snd": _check_au,
    b"NIST_1A": _check_nist,
    b"OggS": _check_ogg,
}
