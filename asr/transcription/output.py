"""Writes a job's transcripts: files that are there whole or not at all, and are a pure function of the journal."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from asr.files.digest import file_digest
from asr.runs.folder import RunFolder
from asr.transcript import Transcript
from asr.transcription.conversation import Conversation, merge, turn_values
from asr.transcription.journal import FOLDER, JournalFullError

if TYPE_CHECKING:
    from asr.transcription.config import JobConfig
    from asr.transcription.inputs import Inputs, Recording

DIGITS = 4  # of a confidence


@dataclass(frozen=True)
class Settings:
    """Holds what decides about a transcript: two jobs with the same settings give the same of the same bytes."""

    model: str  # SHA-256 of the weights, its first 12 digits
    values: dict[str, Any]

    @property
    def digest(self) -> str:
        """12 digits of the SHA-256 of all of it."""
        return hashlib.sha256(json.dumps(self.values, sort_keys=True).encode()).hexdigest()[:12]

    @classmethod
    def of(cls, config: JobConfig) -> Settings:
        """Returns a job's settings: the files of its run, grammar and language model, and what changes a transcript."""
        from asr import __version__

        run = RunFolder(Path(config.run))
        if not run.record_path.is_file():
            raise ValueError(f"{run.path}: not a run folder (no run.json); expected one written by asr.train")
        model = run.read_record().get("model") or ""
        options = config.model_dump(mode="json", include={"channel", "decoding", "segmentation", "precision"})
        values = {
            "version": __version__,
            "run": {path.name: file_digest(path) for path in run.files_of_recognition()},
            "commands": None if config.commands is None else _digest_of_grammar(Path(config.commands)),
            "language_model": _language_model_digests(options["decoding"] or _own_decoding(run.config_path)),
            **options,
        }
        return cls(model[:12], values)


def _own_decoding(path: Path) -> Any:
    """Returns the section of a run's configuration, as it is written there."""
    from asr.config.reading import read_values

    return read_values(path).get("decoding") if path.is_file() else None


def _language_model_digests(section: Any) -> dict[str, str]:
    """Digests the files of the language model that a decoding section names; loading it will name what is missing."""
    if not isinstance(section, dict):
        return {}
    found: dict[str, str] = {}
    for key, value in section.items():
        if key == "language_model" and isinstance(value, str):
            path = Path(value)
            of_a_run = ("config.yaml", "run.json", "model.*", "words.*")
            files = [each for pattern in of_a_run for each in path.glob(pattern)] if path.is_dir() else [path]
            found |= {each.name: file_digest(each) for each in sorted(files) if each.is_file()}
        else:
            found |= _language_model_digests(value)
    return found


def _digest_of_grammar(path: Path) -> str:
    if not path.is_file():
        raise ValueError(f"{path}: no such file; expected a grammar, such as conf/commands/home.yaml")
    return file_digest(path)


@dataclass(frozen=True)
class Output:
    """The files of one job."""

    config: JobConfig
    settings: Settings

    @property
    def folder(self) -> Path:
        """Returns the folder that the transcripts are in."""
        path = Path(self.config.output_dir) if self.config.output_dir is not None else self._single.parent
        return path.absolute()

    @property
    def _single(self) -> Path:
        assert self.config.output is not None
        return Path(self.config.output)

    @property
    def state_folder(self) -> Path:
        """Returns the folder of the journal."""
        if self.config.output_dir is not None:
            return self.folder / FOLDER
        return self.folder / f".{self._single.name}{FOLDER}"

    @property
    def collection_path(self) -> Path:
        """Returns the path of the file that holds all transcripts."""
        return self.folder / (self._single.name if self.config.output is not None else "transcripts.jsonl")

    @property
    def report_path(self) -> Path | None:
        return self.folder / "report.json" if self.config.output_dir is not None else None

    def paths(self, record: dict[str, Any]) -> set[Path]:
        """Returns the paths of the files that were written of a record."""
        return {self.folder / path for path in record.get("files", [])}

    def files(
        self, inputs: Inputs, name: str, record: dict[str, Any], *, previous: dict[str, Any]
    ) -> Iterator[tuple[Path, bytes]]:
        """Path and content of the files of one recording, beside the one of all transcripts.

        The formats that the previous record of the same settings had are kept, and brought up to date.
        """
        if self.config.output_dir is None or "error" in record:
            return
        from asr.transcription.formats import FORMATS

        kept = previous.get("files", []) if previous.get("settings") == record["settings"] else []
        wanted = dict.fromkeys((each, self.config.merge) for each in self.config.format if each != "jsonl")
        for each in FORMATS:
            for path in kept:
                if path.endswith(suffix := FORMATS[each].suffix):
                    is_whole = path.removesuffix(suffix) == previous.get("stem")
                    wanted[each, record["each_channel"] and is_whole] = None
        if not wanted:
            return
        place, name = f"{self.folder}/{inputs.stem(name)}", readable(name)
        transcripts = [Transcript.from_dict(values) for values in record["transcripts"]]
        for each, is_merged in wanted:
            form = FORMATS[each]
            if is_merged and form.render_conversation is not None:
                yield Path(f"{place}{form.suffix}"), form.render_conversation(merge(transcripts), name=name).encode()
                continue
            for transcript in transcripts:
                channel = f".channel{transcript.channel}" if record["each_channel"] else ""
                yield Path(f"{place}{channel}{form.suffix}"), form.render(transcript, name=name).encode()

    def may_write(self, path: Path, content: bytes) -> bool:
        """Returns whether nothing is there that no job has written, or just that: after damage to a journal, say."""
        if self.config.overwrite or not os.path.lexists(path):
            return True
        with contextlib.suppress(OSError):
            return path.is_file() and not path.is_symlink() and path.read_bytes() == content
        return False

    def write(self, path: Path, content: bytes) -> None:
        """Bring one file up to date."""
        try:
            if path.read_bytes() == content:
                return
        except OSError:
            pass
        with self.replacing(path) as file:
            file.write(content)

    @contextmanager
    def replacing(self, path: Path) -> Iterator[IO[bytes]]:
        """Opens a file that takes the place of `path` when it is whole.

        It is written in the state folder: no name is too long for it there, and a kill leaves nothing among the
        transcripts, and there what the next job, alone in the folder as this one is, writes over. Raises
        JournalFullError where there is no room.
        """
        beside = self.state_folder / "writing"
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with beside.open("wb") as file:
                yield file
            beside.replace(path)
        except OSError as error:
            free = shutil.disk_usage(self.state_folder).free
            raise JournalFullError(
                f"{path}: cannot be written ({error.strerror}); {free / 2**20:.1f} MiB are free there. What is done is "
                "kept: make room and run the same command to go on from it"
            ) from None
        finally:
            beside.unlink(missing_ok=True)

    def lines(self, record: dict[str, Any]) -> Iterator[str]:
        """Yields the lines of one recording in the file of all transcripts."""
        transcripts = [Transcript.from_dict(values) for values in record.get("transcripts", [])]
        if record["merged"] and transcripts:
            yield from self._conversation_lines(record, merge(transcripts))
            return
        if self.config.format[0] == "txt" and self.config.output is not None:
            for transcript in transcripts:
                yield f"{readable(record['name'])}{_channel_mark(record, transcript)}\t{_plain(transcript)}"
            return
        for transcript in transcripts:
            yield json.dumps(self._line(record, transcript), ensure_ascii=False)
        if "error" in record:
            line = record["head"] | {"error": record["error"], "error_kind": record["error_kind"]}
            yield json.dumps(line | _tail(record), ensure_ascii=False)

    def _conversation_lines(self, record: dict[str, Any], conversation: Conversation) -> Iterator[str]:
        """Yields one for the recording; as text, one for each turn."""
        if self.config.format[0] == "txt" and self.config.output is not None:
            for turn in conversation.turns:
                times = f"{turn.start:.2f}\t{turn.end:.2f}"
                yield f"{readable(record['name'])}\t{times}\t{turn.speaker}\t{turn.text}"
            return
        line = record["head"] | {
            "duration": round(conversation.duration, 6),
            "pred_text": conversation.pred_text,
            "confidence": round(conversation.confidence, DIGITS),
            "turns": [turn_values(turn) for turn in conversation.turns],
        }
        if conversation.warnings:
            line["warning"] = "; ".join(conversation.warnings)
        if self.config.rtf:
            line["rtf"] = round(record["seconds"] / max(conversation.duration, 1e-3), 6)
        yield json.dumps(line | {"error": None} | _tail(record), ensure_ascii=False)

    def _line(self, record: dict[str, Any], transcript: Transcript) -> dict[str, Any]:
        line = dict(record["head"])
        line["id"] += _channel_mark(record, transcript)
        line |= {
            "duration": round(transcript.duration, 6),
            "pred_text": transcript.pred_text,
            "confidence": round(transcript.confidence, DIGITS),
            "words": [
                {
                    "word": word.word,
                    "start": round(word.start, 3),
                    "end": round(word.end, 3),
                    "confidence": round(word.confidence, DIGITS),
                }
                for word in transcript.words
            ],
        }
        if transcript.channel is not None:
            line["channel"] = transcript.channel
        if transcript.command is not None:
            line["command"] = transcript.command
        if transcript.warning is not None:
            line["warning"] = transcript.warning
        if self.config.rtf:
            line["rtf"] = round(record["seconds"] / max(transcript.duration, 1e-3), 6)
        return line | {"error": None} | _tail(record)

    def head(self, recording: Recording) -> dict[str, Any]:
        """Returns what a line says of a recording itself."""
        audio, folder = Path(recording.stretch.path), self.folder
        # As in every manifest: relative to its folder for what lies below it.
        path = str(audio.relative_to(folder) if audio.is_relative_to(folder) else audio)
        head = {"id": readable(recording.name), "audio_filepath": readable(path), **(recording.fields or {})}
        if readable(path) != path:  # what JSON cannot hold
            head["audio_filepath_base64"] = base64.b64encode(os.fsencode(path)).decode("ascii")
        return head


def _tail(record: dict[str, Any]) -> dict[str, str]:
    return {"model": record["model"], "settings": record["settings"]}


def _channel_mark(record: dict[str, Any], transcript: Transcript) -> str:
    return f"#{transcript.channel}" if record["each_channel"] else ""


def readable(name: str) -> str:
    """Returns the name, with `\\xe9` for a byte that is no UTF-8."""
    return os.fsencode(name).decode("utf-8", "backslashreplace")


def _plain(transcript: Transcript) -> str:
    """Returns the transcript; of a command, with its intent and slots after tabs."""
    command = transcript.command
    if command is None or not command["understood"]:
        return transcript.pred_text
    return f"{command['text']}\t{command['intent']}\t{json.dumps(command['slots'], ensure_ascii=False)}"
