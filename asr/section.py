"""The base of every section of the configuration: frozen, strict, no unknown keys."""

from pydantic import BaseModel, ConfigDict


class Section(BaseModel):
    """One section of a configuration file; each part of the pipeline declares its own, in its own file."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, validate_default=True)
