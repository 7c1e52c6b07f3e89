"""Holds what `listen` is told: the model, the commands, where audio comes from, and what is shown."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from asr.recognition.stream import StreamConfig
from asr.section import Section


class ListenConfig(Section):
    model: str = Field(description="a run folder of asr.train, or the name of a shipped model")
    commands: str | None = Field(None, description="YAML of sentence templates; null: whatever is said is written")
    wake: str | None = Field(None, description="phrases, with | between them, or a grammar's file, to say first")
    wake_seconds: float = Field(8.0, gt=0, le=3600, description="seconds in which a command may begin after a phrase")
    source: str | None = Field(None, description="a file to play; -: raw 16-bit samples on stdin; null: a microphone")
    rate: int = Field(16_000, description="hertz, of raw samples")
    fast: bool = Field(False, description="play a file as fast as it is recognised")
    recorder: Literal["auto", "sounddevice", "parec", "arecord"] = Field(
        "auto", description="what records a microphone; auto: the first of these that is here"
    )
    device: str | None = Field(None, description="the microphone, as the recorder names it; null: its default")
    push_to_talk: bool = Field(False, description="listen from one Enter to the next alone")
    json_lines: bool = Field(False, description="write a line of JSON for each event")
    precision: Literal["fp32", "bf16", "int8"] = Field("fp32", description="of the model's arithmetic")
    num_threads: int = Field(1, ge=1, le=1024, description="CPU threads of the model")
    stream: StreamConfig = Field(StreamConfig(), description="when a segment begins and ends")

    @model_validator(mode="after")
    def _options_go_together(self) -> ListenConfig:
        if self.push_to_talk and self.source == "-":
            raise ValueError(
                "push_to_talk: Enter is read from stdin, where the samples come from; expected a microphone"
            )
        if self.push_to_talk and self.wake is not None:
            raise ValueError("wake: with push_to_talk, which needs no phrase; expected one of the two")
        if self.wake is not None and self.commands is None:
            raise ValueError("wake: without commands; expected --commands, for what is said after the phrase")
        if self.fast and (self.source is None or self.source == "-"):
            raise ValueError("fast: without a file; expected one to play, for a microphone's time is its own")
        return self
