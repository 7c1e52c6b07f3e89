"""The `tracking` section: which trackers a run has, and how wandb is used."""

from typing import Literal

from pydantic import Field

from asr.section import Section


class TrackingConfig(Section):
    """Says which trackers a run has."""

    trackers: tuple[Literal["console", "jsonl", "wandb"], ...] = Field(
        ("console", "jsonl", "wandb"), description="where figures go; an empty list: nowhere"
    )
    mode: Literal["offline", "online"] = Field("offline", description="of wandb; online needs an API key, else offline")
    project: str = Field("earshot", min_length=1, description="wandb project")
    name: str | None = Field(None, description="name of the run in wandb; none: the name of the run folder")
    num_utterances: int = Field(16, ge=0, description="dev utterances shown with audio after each evaluation")
    num_explained: int = Field(
        2, ge=0, description="of them, drawn as asr.explain does, in wandb; without matplotlib none are"
    )


class TrackingError(ValueError):
    """A tracker that cannot be used as configured."""
