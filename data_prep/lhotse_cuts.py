"""Cuts of lhotse, in and out: https://lhotse.readthedocs.io (needs `pip install 'earshot[lhotse]'`)

CORPUS_DIR holds *.jsonl or *.jsonl.gz of cuts, with train, dev or test as a part of their names
(cuts_train-clean-100.jsonl.gz), or a single one, which is then split. Each supervision is an utterance. Recordings
must be files: a source that is a command to run, or an address, is refused. With --export it goes the other way:
manifests in, cuts out.
"""

import argparse
import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from asr.process.runtime import run_program
from data_prep.corpus import prepare, say, say_bad, split_up
from data_prep.entries import SPLITS, Corpus, CorpusError, Dropped, Entry
from data_prep.layout import split_of
from data_prep.options import corpus_parser, preparation_of, splitting_of

if TYPE_CHECKING:
    from asr.data.manifest import Manifest


def _lhotse() -> Any:
    try:
        import lhotse
    except ImportError as error:
        raise CorpusError("lhotse: not installed; install it: pip install 'earshot[lhotse]'") from error
    return lhotse


def read_cuts(path: Path, dropped: list[Dropped]) -> list[Entry]:
    """Returns the supervisions of a file of cuts; what is mixed or altered on the fly is appended to `dropped`.

    Raises:
        CorpusError: not a file of cuts, or a source that is not a file.
    """
    lhotse = _lhotse()
    try:
        cuts = list(lhotse.load_manifest_lazy(path) or ())
    except (ValueError, KeyError, TypeError, AttributeError, EOFError, OSError) as error:
        raise CorpusError(f"{path}: not readable as lhotse's ({error!r}); expected JSON lines of cuts") from error
    entries = []
    for cut in cuts:
        if not isinstance(cut, lhotse.MonoCut | lhotse.MultiCut | lhotse.cut.MixedCut):
            raise CorpusError(f"{path}: {type(cut).__name__}; expected cuts; lhotse.CutSet.from_manifests makes them")
        if fault := _fault(path, cut):
            dropped.append(Dropped(cut.id, str(path), fault))
        else:
            entries += _entries(cut, f"{path.name}: {cut.id}")
    return entries


def _fault(path: Path, cut: Any) -> str | None:
    """Why a cut is no plain stretch of a file, or None."""
    tracks = getattr(cut, "tracks", None)
    if tracks is not None:
        return "a mix of cuts, which is no recording"
    if cut.recording is None:
        return "a cut without recording"
    for source in cut.recording.sources:
        if source.type != "file":
            raise CorpusError(
                f"{path}: {cut.id}: a source of type '{source.type}'; expected 'file'; nothing is run or fetched: "
                f"write the audio to files first (lhotse: CutSet.save_audios)"
            )
    if cut.recording.transforms:
        return "altered on the fly (transforms)"
    if len(cut.recording.sources) > 1 or cut.num_channels != cut.recording.num_channels:
        return "some channels of several"
    return None


def _entries(cut: Any, place: str) -> Iterator[Entry]:
    audio = Path(cut.recording.sources[0].source).absolute()
    for supervision in cut.supervisions:
        about = {"language": supervision.language, "gender": supervision.gender, **(supervision.custom or {})}
        extra = {key: value for key, value in about.items() if isinstance(value, str | int | float)}
        yield Entry(
            id=supervision.id,
            audio=audio,
            text=supervision.text or "",
            speaker=supervision.speaker,
            offset=round(cut.start + supervision.start, 6),
            duration=supervision.duration,
            extra=extra,
            place=place,
        )


def read_corpus(corpus_dir: Path, arguments: argparse.Namespace) -> Corpus:
    """Read the files of cuts for each split, or the only one.

    Raises:
        CorpusError: none, or several that are not named after splits; and as `read_cuts`.
    """
    found = sorted(path for pattern in ("*.jsonl", "*.jsonl.gz") for path in corpus_dir.glob(pattern))
    named = {path: _splits_in(path.name) for path in found}
    dropped: list[Dropped] = []
    if len(found) == 1 and not named[found[0]]:
        return split_up(read_cuts(found[0], dropped), splitting_of(arguments), dropped=dropped)
    if not found or any(len(names) != 1 for names in named.values()):
        raise CorpusError(
            f"{corpus_dir}: {', '.join(path.name for path in found) or 'no *.jsonl or *.jsonl.gz'}; expected one file "
            f"of cuts, or train, dev or test in each name"
        )
    splits: dict[str, list[Entry]] = {name: [] for name in SPLITS}
    for path, (name,) in named.items():
        splits[name] += read_cuts(path, dropped)
    return Corpus(splits, tuple(dropped))


def _splits_in(name: str) -> set[str]:
    return {split for part in re.split(r"[._-]", name) if (split := split_of(part))}


def export(manifest_dir: Path, output_dir: Path) -> list[str]:
    """Write `train_cuts.jsonl.gz`, ... of the manifests in a folder; returns why recordings were left out.

    Raises:
        CorpusError: there are no manifests.
    """
    from asr.data.manifest import Manifest
    from asr.files.replacing import replacing

    lhotse = _lhotse()
    paths = [path for name in SPLITS if (path := manifest_dir / f"{name}.jsonl").is_file()]
    if not paths:
        raise CorpusError(f"{manifest_dir}: no {', '.join(f'{name}.jsonl' for name in SPLITS)}; expected manifests")
    faults: list[str] = []
    for path in paths:
        target = output_dir / f"{path.stem}_cuts.jsonl.gz"
        with replacing(target) as beside:
            lhotse.CutSet.from_cuts(_cuts(Manifest.read(path), faults)).to_file(beside)
        say(f"{target}: written")
    return faults


def _cuts(manifest: "Manifest", faults: list[str]) -> Iterator[Any]:
    """Yields one cut an utterance, each with its supervision; why a recording cannot be read is added to `faults`."""
    from asr.audio.reading import AudioError, read_info

    lhotse = _lhotse()
    for utterance in manifest:
        try:
            info = read_info(utterance.audio_filepath)
        except AudioError as error:
            faults.append(str(error))
            continue
        channels = list(range(info.num_channels))
        source = lhotse.AudioSource(type="file", channels=channels, source=utterance.audio_filepath)
        recording = lhotse.Recording(
            id=utterance.audio_filepath,
            sources=[source],
            sampling_rate=info.sample_rate,
            num_samples=info.num_samples,
            duration=info.duration,
        )
        duration = min(utterance.duration, info.duration - utterance.offset)
        cut = recording.to_cut().truncate(offset=utterance.offset, duration=duration).with_id(utterance.id)
        supervision = lhotse.SupervisionSegment(
            id=utterance.id,
            recording_id=recording.id,
            start=0.0,
            duration=duration,
            channel=cut.channel,
            text=utterance.text,
            speaker=utterance.speaker,
            custom=utterance.extra or None,
        )
        cut.supervisions = [supervision]
        yield cut


def main(arguments: list[str] | None = None) -> int:
    parser = corpus_parser(__doc__, split_by="speaker", dev=0.1, test=0.1)
    parser.add_argument("--export", action="store_true", help="write the manifests of CORPUS_DIR as cuts to OUTPUT_DIR")
    options = parser.parse_args(arguments)
    if options.export:
        return say_bad(export(options.corpus_dir, options.output_dir))
    return prepare(read_corpus(options.corpus_dir, options), preparation_of(options))


if __name__ == "__main__":
    run_program(main)
