"""Holds what a job of transcribing is told: the options of `python -m asr.transcribe`, all of which a YAML file may
hold.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field, model_validator

from asr.audio.pool import AudioLimits
from asr.config.reading import apply_override, check_section, read_values
from asr.decoding import DecodingConfig
from asr.files.packaged import locate
from asr.section import Section
from asr.transcription.formats import CONVERSATION_FORMATS, FORMAT_NAMES
from asr.transcription.segmentation import SegmentationConfig

if TYPE_CHECKING:
    FormatName = str
else:
    FormatName = Literal[FORMAT_NAMES]


class WatchConfig(Section):
    """Transcribing what arrives."""

    every_seconds: float = Field(2.0, gt=0, description="between two looks at the folders")
    settle_seconds: float = Field(2.0, ge=0, description="a file that changed later than this is not finished yet")


class RayConfig(Section):
    """Says where `engine: ray` computes."""

    address: str | None = Field(None, description="of a cluster, such as auto or ray://head:10001; null: this machine")
    cpus_per_worker: float = Field(1.0, gt=0, description="processor cores that each worker is given")
    gpus_per_worker: float = Field(0.0, ge=0, description="GPUs that each worker is given; 0: it computes on cores")


class JobConfig(Section):
    """One job."""

    run: str = Field(description="a run folder of asr.train")
    paths: tuple[str, ...] = Field(min_length=1, description="folders, files, patterns, a manifest, or - for a list")
    root: str | None = Field(None, description="folder that no recording of the manifest may be outside of")
    output_dir: str | None = Field(None, description="folder that mirrors the tree of the recordings")
    output: str | None = Field(None, description="one file instead, of jsonl or txt")
    format: tuple[FormatName, ...] = Field(("jsonl",), min_length=1, description="what is written of each recording")
    overwrite: bool = Field(False, description="replace files in output_dir that no job has written")
    rtf: bool = Field(False, description="time needed for a second of audio in jsonl: never twice the same")

    channel: int | Literal["mix", "each"] = Field("mix", description="counted from 0; the mean of all; each by itself")
    merge: bool = Field(False, description="of channel each: one conversation of all channels, turn by turn")
    commands: str | None = Field(None, description="a grammar, if only its sentences are to be heard")
    decoding: DecodingConfig | None = Field(None, description="null: that of the run")
    segmentation: SegmentationConfig = Field(SegmentationConfig(), description="how long recordings are cut")
    precision: Literal["fp32", "bf16", "int8"] = Field("fp32", description="of the model's arithmetic")

    engine: Literal["local", "ray"] = Field("local", description="what the workers run under")
    device: Literal["auto", "cpu", "cuda"] = Field("auto", description="auto: all GPUs, or else all cores")
    num_workers: int = Field(0, ge=0, description="processes with a model; 0: one a GPU, or one a core")
    num_decoders: int = Field(0, ge=0, description="processes that decode audio, a worker; 0: as many as it has cores")
    batch_size: int = Field(32, ge=1, description="recordings that the model hears at a time, at most")
    batch_seconds: float = Field(120.0, gt=0, description="of their padded audio, at most: the memory of a batch")
    limits: AudioLimits = Field(AudioLimits(), description="what reading a recording may take")
    watch: bool = Field(False, description="go on with what arrives, until interrupted")
    watching: WatchConfig = Field(WatchConfig(), description="what --watch waits for")
    ray: RayConfig = Field(RayConfig(), description="where the workers are, with engine: ray")

    @model_validator(mode="after")
    def _check(self) -> JobConfig:
        if (self.output is None) == (self.output_dir is None):
            raise ValueError(
                "output_dir: expected it or output, and one of them only: where the transcripts go (--output-dir "
                "FOLDER, or --output FILE.jsonl)"
            )
        first, *more = self.format
        if self.output is not None and (more or first not in ("jsonl", "txt")):
            raise ValueError(
                f"output: one file holds jsonl or txt, but the format is {', '.join(self.format)}; use output_dir"
            )
        others = set(FORMAT_NAMES) - {first}
        if self.output is not None and (suffix := Path(self.output).suffix[1:]) in others:
            raise ValueError(
                f"output: {self.output} holds {first}; expected another suffix, or format: [{suffix}], for "
                "most formats with output_dir"
            )
        if isinstance(self.channel, int) and self.channel < 0:
            raise ValueError(f"channel: {self.channel}; expected 0 or more, mix or each")
        self._check_merge()
        if self.watch and "-" in self.paths:
            raise ValueError("watch: a list on stdin does not grow; expected folders")
        if self.watch and self.output_dir is None:
            raise ValueError("watch: expected output_dir; one file for all is written when all is known")
        if self.watch and self.engine == "ray":
            raise ValueError("watch: engine ray starts its workers for each job; expected engine local")
        return self

    def _check_merge(self) -> None:
        if self.merge and self.channel != "each":
            raise ValueError(f"merge: of channel {self.channel}; expected channel each (--channel each --merge)")
        if self.merge and self.commands is not None:
            raise ValueError("merge: commands have no turns; expected channel each without merge, or no commands")
        if self.merge and (others := sorted(set(self.format) - CONVERSATION_FORMATS)):
            raise ValueError(
                f"merge: the format {others[0]} has no speakers; expected {', '.join(sorted(CONVERSATION_FORMATS))}"
            )

    def with_absolute_paths(self) -> JobConfig:
        """Returns the same for processes that begin in another folder: the run, the grammar and the language model."""
        values = self.model_dump(mode="json")
        for key in ("run", "commands"):
            values[key] = values[key] and str(Path(values[key]).absolute())
        fusion = (values["decoding"] or {}).get("fusion")
        if fusion and fusion.get("language_model"):
            fusion["language_model"] = str(Path(fusion["language_model"]).absolute())
        return check_section(values, JobConfig, where="options")


def load_job(path: str | Path | None, options: dict[str, Any], overrides: Sequence[str] = ()) -> JobConfig:
    """Returns the job of a YAML file, with these options in the place of its own.

    Raises ConfigError with every fault.
    """
    return check_section(read_job_values(path, options, overrides), JobConfig, where=str(path or "options"))


def read_job_values(path: str | Path | None, options: dict[str, Any], overrides: Sequence[str] = ()) -> dict[str, Any]:
    """Returns what `load_job` checks."""
    values = {} if path is None else read_values(path)
    values |= options
    for override in overrides:
        apply_override(values, override)
    for key in ("run", "commands"):
        if isinstance(values.get(key), str):
            values[key] = str(locate(values[key]))
    if isinstance(values.get("paths"), list):
        values["paths"] = [str(locate(each)) if isinstance(each, str) else each for each in values["paths"]]
    return values
