"""The base of every section of the configuration: frozen, strict, no unknown keys."""

from pydantic import BaseModel, ConfigDict

# What no network of this kind has, and what would take the memory or the hours of whoever reads a stranger's file.
LARGEST_WIDTH = 65_536  # units, channels, bands, places of a kernel
MOST_LAYERS = 256


class Section(BaseModel):
    """One section of a configuration file; each part of the pipeline declares its own, in its own file."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, validate_default=True)
