"""asr/transcription/journal.py: what is written is there after a kill at any byte, and nothing else is."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from asr.transcription.journal import Journal, JournalError, JournalFullError
from asr.transcription.record import fault_of_record

NAMES = ["a.wav", "b.wav", os.fsdecode(b"caf\xe9.wav"), "d.wav"]


def record(name: str, value: int) -> dict:
    return {"name": name, "value": value, "text": "é" * value}


def opened(folder: Path, names: list[str] = NAMES) -> Journal:
    journal = Journal(folder / "state")
    journal.load(names)
    return journal


def values(journal: Journal) -> list[int | None]:
    return [None if (found := journal[number]) is None else found["value"] for number in range(len(NAMES))]


def test_the_last_record_of_a_name_counts(tmp_path: Path) -> None:
    journal = opened(tmp_path)
    for number, value in ((0, 1), (2, 2), (0, 3), (3, 40_000)):
        journal.append(number, record(NAMES[number], value))
    assert values(journal) == [3, None, 2, 40_000]
    journal.close()
    again = opened(tmp_path)
    assert values(again) == [3, None, 2, 40_000]
    assert again[3] == record("d.wav", 40_000)
    again.close()
    # Names may come in another order, and more of them.
    other = opened(tmp_path, ["new.wav", *reversed(NAMES)])
    assert [other[number] is None for number in range(5)] == [True, False, False, True, False]
    other.grow(["newer.wav", "newest.wav"])
    assert other[6] is None
    other.append(6, record("newest.wav", 1))
    assert other[6] == record("newest.wav", 1)
    other.close()


def test_a_kill_at_any_byte_costs_the_record_that_was_being_written(tmp_path: Path) -> None:
    journal = opened(tmp_path)
    for number in range(3):
        journal.append(number, record(NAMES[number], number + 1))
    journal.close()
    content = journal.path.read_bytes()
    ends = [place + 1 for place, letter in enumerate(content) if letter == 0x0A]
    for size in {*range(0, len(content) + 1, 7), *ends, *(end - 1 for end in ends)}:
        journal.path.write_bytes(content[:size])
        again = opened(tmp_path)
        num_whole = sum(end <= size for end in ends)
        assert values(again) == [*range(1, num_whole + 1), *[None] * (4 - num_whole)]
        again.append(3, record("d.wav", 9))
        again.close()
        again = opened(tmp_path)
        assert (values(again)[3], again.num_damaged) == (9, 0)
        again.close()


def test_a_damaged_line_is_left_out(tmp_path: Path) -> None:
    journal = opened(tmp_path)
    for number in range(3):
        journal.append(number, record(NAMES[number], number + 1))
    journal.close()
    content = bytearray(journal.path.read_bytes())
    content[content.index(b'"value": 2') + 9] = ord("7")
    journal.path.write_bytes(content)
    again = opened(tmp_path)
    assert (values(again), again.num_damaged) == ([1, None, 3, None], 1)
    again.close()


def test_two_jobs_cannot_share_a_folder(tmp_path: Path) -> None:
    journal = opened(tmp_path)
    code = (
        "import sys; from pathlib import Path; from asr.transcription.journal import Journal; "
        "Journal(Path(sys.argv[1]))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, journal.path.parent], capture_output=True, text=True, check=False
    )
    assert f"{tmp_path}: another job is writing here; expected none; wait for it" in done.stderr
    journal.close()
    opened(tmp_path).close()


def test_a_full_disk_is_named_and_costs_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    journal = opened(tmp_path)
    journal.append(0, record("a.wav", 1))
    whole = journal.path.read_bytes()

    def full(file: int, content: bytes, place: int) -> int:
        if len(content) > 20:
            return pwrite(file, content[:20], place)
        raise OSError(28, "No space left on device")

    pwrite = os.pwrite
    with monkeypatch.context() as patch:
        patch.setattr(os, "pwrite", full)
        with pytest.raises(
            JournalFullError, match=r"journal\.jsonl: cannot be written \(No space left on device\); .*MiB"
        ):
            journal.append(1, record("b.wav", 2))
    assert values(journal) == [1, None, None, None]
    journal.close()
    assert journal.path.read_bytes().startswith(whole)
    again = opened(tmp_path)
    assert values(again) == [1, None, None, None]
    again.close()


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(JournalError, match=r"file/state: cannot be written \(Not a directory\); expected a folder"):
        Journal(tmp_path / "file" / "state")


def test_a_journal_can_be_removed(tmp_path: Path) -> None:
    journal = opened(tmp_path)
    journal.append(0, json.loads(json.dumps(record("a.wav", 1))))
    journal.remove()
    journal.close()
    assert list(tmp_path.iterdir()) == []


def job_record(name: str, **others: object) -> dict:
    transcript = {"pred_text": "x", "confidence": 0.5, "words": [], "duration": 1.0}
    whole = {"settings": "s", "size": 9, "sha256": "0", "seconds": 0.1, "transcripts": [transcript]}
    return {"name": name, **whole, **others}


@pytest.mark.parametrize(
    ("others", "fault"),
    [
        ({"transcripts": []}, "transcripts: found []; list should have at least 1 item"),
        ({"transcripts": [{"pred_text": "x"}]}, "transcripts.0.confidence: missing"),
        ({"transcripts": [job_record("")["transcripts"][0] | {"tone": 1}]}, "transcripts.0.tone: found 1; extra"),
        ({"size": "9"}, "size: found '9'"),
        ({"error": 5, "error_kind": None}, "error: found 5"),
        ({"head": {"id": 3}}, "head.id: found 3"),
        ({"source": {"path": "/a.wav"}}, "source.offset: missing"),
        ({"files": ["../../etc/passwd"]}, "files.0: found '../../etc/passwd'; value error, expected a path below the"),
        ({"files": ["/etc/passwd"]}, "expected a path below the output folder"),
        ({"stem": "../x"}, "expected a path below the output folder"),
    ],
)
def test_a_record_that_is_none_is_passed_over_and_named(tmp_path: Path, others: dict, fault: str) -> None:
    """As another version may write, or a stranger: `files` of a record are removed when it is made again."""
    journal = opened(tmp_path)
    journal.append(0, job_record("a.wav"))
    journal.append(1, job_record("b.wav", **others))
    journal.append(3, {"name": "d.wav", "settings": "s", "size": 0, "error": "no such file", "error_kind": "missing"})
    journal.close()
    before = journal.path.read_bytes()
    again = Journal(tmp_path / "state", fault_of=fault_of_record)
    again.load(NAMES)
    assert [again[number] is not None for number in range(4)] == [True, False, False, True]
    assert (again.num_damaged, len(again.damaged)) == (1, 1)
    assert again.damaged[0].startswith(f"{again.path}:2: 'b.wav': ")
    assert fault in again.damaged[0]
    again.close()
    assert journal.path.read_bytes() == before


def test_only_some_of_many_damaged_lines_are_named(tmp_path: Path) -> None:
    journal = opened(tmp_path)
    journal.path.write_bytes(b"00000000 {}\n" * 9)
    journal.load(NAMES)
    assert (journal.num_damaged, len(journal.damaged)) == (9, 5)
    assert journal.damaged[4] == f"{journal.path}:5: its checksum or its form is wrong"
    journal.close()
