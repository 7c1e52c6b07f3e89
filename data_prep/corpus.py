"""A corpus on its way to manifests: what each reader of a corpus gives, how it is split, and what is then done with it.

A reader (`data_prep/<corpus>.py`) turns a folder into a `Corpus`; `prepare` does everything after that.
"""

import hashlib
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import NoReturn

from asr.files.replacing import split_lines
from asr.process.runtime import EXIT_BAD_FILES, EXIT_OK
from asr.text.normalization import normalize_transcript
from data_prep.entries import BAD_FILE_REASONS, SPLITS, Corpus, CorpusError, Dropped, Entry, Preparation, Splitting

NUM_NAMED = 20  # of what was not used, at the end


def carve(
    entries: list[Entry], *, name: str, share: float, by: str, clean: Callable[[str], str] = normalize_transcript
) -> tuple[list[Entry], list[Entry]]:
    """Part entries into those that stay and those of the new split `name`, keeping groups together.

    Groups (`by` "speaker", "text" or "id") are taken in the order of a hash of their names while they fit into the
    share: the same entries always give the same split, whatever their order, and one group more or less moves few
    others. When none fits, the smallest is taken. `clean` gives transcripts the form in which they are the same text.

    Raises:
        CorpusError: no speakers to split by, or a single group.
    """
    if not share or not entries:
        return entries, []
    groups: dict[str, list[Entry]] = {}
    names = [_group(entry, by, clean) for entry in entries]
    for group, entry in zip(names, entries):
        groups.setdefault(group, []).append(entry)
    if len(groups) < 2:
        raise CorpusError(
            f"{name}: one {by} in all ('{next(iter(groups))}'); expected two or more to carve it from; "
            f"choose another --split-by, or --{name}-share 0"
        )
    wanted, taken, num_taken = share * len(entries), set(), 0
    for group in sorted(groups, key=lambda group: hashlib.sha256(f"{name} {group}".encode()).digest()):
        if num_taken + len(groups[group]) <= wanted:
            taken.add(group)
            num_taken += len(groups[group])
    if not taken:
        taken.add(min(groups, key=lambda group: (len(groups[group]), group)))
    kept = [entry for group, entry in zip(names, entries) if group not in taken]
    return kept, [entry for group, entry in zip(names, entries) if group in taken]


def _group(entry: Entry, by: str, clean: Callable[[str], str] = normalize_transcript) -> str:
    if by == "id":
        return entry.id
    if by == "text":
        return clean(entry.text)
    if entry.speaker is None:
        raise CorpusError(
            f"{entry.id}: no speaker; expected one for every utterance, to split by; say who speaks, or choose "
            f"--split-by id or text (a speaker may then be in two splits)"
        )
    return entry.speaker


def split_up(
    entries: list[Entry],
    splitting: Splitting,
    *,
    dropped: Iterable[Dropped] = (),
    notes: Iterable[str] = (),
) -> Corpus:
    """Carve test, then dev, out of a corpus that comes in one piece.

    Raises:
        CorpusError: the shares leave nothing for training; and as `carve`.
    """
    if splitting.dev_share + splitting.test_share >= 1:
        raise CorpusError(
            f"--dev-share {splitting.dev_share} and --test-share {splitting.test_share}; expected a sum below 1"
        )
    clean = normalize_transcript
    if splitting.by == "text":
        from data_prep.transcripts import TranscriptCleaner

        clean = TranscriptCleaner(language=splitting.language).clean
    rest, test = carve(entries, name="test", share=splitting.test_share, by=splitting.by, clean=clean)
    dev_share = splitting.dev_share / (1 - splitting.test_share)
    train, dev = carve(rest, name="dev", share=dev_share, by=splitting.by, clean=clean)
    missed = [
        note
        for name, part, share in (("dev", dev, splitting.dev_share), ("test", test, splitting.test_share))
        for note in missed_share(entries, part, name=name, share=share, by=splitting.by)
    ]
    return Corpus(
        {"train": train, "dev": dev, "test": test},
        tuple(dropped),
        shares_speakers=splitting.by != "speaker",
        notes=(*notes, *missed),
    )


def missed_share(entries: list[Entry], part: list[Entry], *, name: str, share: float, by: str) -> list[str]:
    """Say where a split that was carved misses its share by half or more, and why."""
    wanted = share * len(entries)
    if not wanted or abs(len(part) - wanted) < wanted / 2:
        return []
    groups = Counter(_group(entry, by) for entry in entries)
    why = {"speaker": "speakers", "text": "different sentences", "id": "utterances"}[by]
    others = " or ".join(each for each in ("speaker", "text", "id") if each != by)
    return [
        f"{name} has {len(part):,} of {len(entries):,} utterances ({len(part) / len(entries):.0%}) where "
        f"{share:.0%} were asked for: there are {len(groups):,} {why}, of {min(groups.values()):,} to "
        f"{max(groups.values()):,} utterances, and none is cut in two; --split-by {others} keeps other things together"
    ]


def check_speakers(splits: Mapping[str, list[Entry]], *, allowed: bool) -> list[str]:
    """Say which speakers are in two splits; an error unless it is allowed.

    Raises:
        CorpusError: naming some of them.
    """
    speakers = {split: {each.speaker for each in entries if each.speaker} for split, entries in splits.items()}
    notes = []
    for index, first in enumerate(SPLITS):
        for second in SPLITS[index + 1 :]:
            shared = sorted(speakers.get(first, set()) & speakers.get(second, set()))
            if shared:
                notes.append(f"{len(shared):,} speakers are in both {first} and {second} ({', '.join(shared[:3])} ...)")
    if notes and not allowed:
        raise CorpusError(
            f"{'; '.join(notes)}; expected each speaker in one split, or results would flatter; "
            f"mend the corpus's lists, or say --allow-shared-speakers"
        )
    return notes


def prepare(corpus: Corpus, preparation: Preparation) -> int:
    """Validate a corpus, write its manifests, print the summary, and give the program's exit code.

    An empty split has no manifest: one that an earlier run left is removed.

    Raises:
        CorpusError: a speaker in two splits without leave, or no utterance left at all.
    """
    from asr.data.manifest_writing import write_manifest
    from data_prep.summary import print_summary, write_dropped
    from data_prep.transcripts import TranscriptCleaner
    from data_prep.validation import validate

    checks = preparation.checks
    cleaner = TranscriptCleaner(keep_text=checks.keep_text, language=checks.language)
    notes = [*corpus.notes]
    notes += check_speakers(corpus.splits, allowed=corpus.shares_speakers or preparation.allow_shared_speakers)
    splits, dropped = validate(corpus.splits, checks=checks, output_dir=preparation.output_dir, cleaner=cleaner)
    dropped = [*corpus.dropped, *dropped]
    write_dropped(preparation.output_dir / "dropped.jsonl", dropped)
    if not any(splits.values()):
        _fail_empty(preparation.corpus_dir, dropped)
    for name in SPLITS:
        path = preparation.output_dir / f"{name}.jsonl"
        if splits.get(name):
            write_manifest(path, (each.utterance for each in splits[name]))
        else:
            path.unlink(missing_ok=True)
    notes += cleaner.notes()
    print_summary(splits, dropped=dropped, notes=notes, output_dir=preparation.output_dir)
    return say_bad(f"{each.audio}: {reason_of(each)}" for each in dropped if each.reason in BAD_FILE_REASONS)


def reason_of(dropped: Dropped) -> str:
    """Returns why it was left out, with what was found."""
    return f"{dropped.reason}: {dropped.detail}" if dropped.detail else dropped.reason


def say_bad(faults: Iterable[str]) -> int:
    """Names at a program's end what it went on past, in order, and returns its exit code."""
    faults = list(dict.fromkeys(faults))
    for fault in faults[:NUM_NAMED]:
        say(f"not used: {fault}")
    if len(faults) > NUM_NAMED:
        say(f"not used: {len(faults) - NUM_NAMED:,} more")
    return EXIT_BAD_FILES if faults else EXIT_OK


def _fail_empty(corpus_dir: Path, dropped: list[Dropped]) -> NoReturn:
    first = f"; of {len(dropped):,} dropped the first is {dropped[0].id}: {reason_of(dropped[0])}" if dropped else ""
    raise CorpusError(f"{corpus_dir}: no utterance left{first}; expected a corpus with usable ones")


def inner_folder(corpus_dir: Path, *, holds: Callable[[Path], bool], what: str) -> Path:
    """Returns the folder that holds a corpus: the one given, or the only one in it that an archive's extraction made.

    Raises:
        CorpusError: neither is; `what` says what was looked for.
    """
    if not corpus_dir.is_dir():
        raise CorpusError(f"{corpus_dir}: no such folder; expected a corpus: {what}")
    for folder in (corpus_dir, *sorted(path for path in corpus_dir.iterdir() if path.is_dir())):
        if holds(folder):
            return folder
    raise CorpusError(f"{corpus_dir}: not this corpus; expected {what} there or one folder below")


def read_text(path: Path) -> str:
    """Returns the text of a small file, with the ends of its lines as they are and without a byte order mark.

    Raises:
        CorpusError: there is no such file, it is not UTF-8, or memory does not hold it.
    """
    if not path.is_file():
        raise CorpusError(f"{path}: no such file; expected a list of the corpus, as UTF-8 text")
    try:
        return path.read_bytes().decode("utf-8-sig")
    except MemoryError:
        raise CorpusError(f"{path}: {path.stat().st_size:,} bytes, more than memory holds; expected a list") from None
    except UnicodeDecodeError as error:
        raise CorpusError(f"{path}: not UTF-8 ({error.reason} at byte {error.start}); convert it with iconv") from error


def read_lines(path: Path) -> list[str]:
    """Returns the lines of a small text file, without their ends. Raises CorpusError as `read_text`."""
    return split_lines(read_text(path))


def say(message: str) -> None:
    """Prints a line of progress, apart from the results."""
    print(message, file=sys.stderr, flush=True)
