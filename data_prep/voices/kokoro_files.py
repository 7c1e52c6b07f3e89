"""The files of Kokoro that a user names: which is what, the styles, and the blends of them."""

from __future__ import annotations

import math
import os
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float32

from data_prep.voices import SynthesisError

ENVIRONMENT = "EARSHOT_KOKORO"
REMEDY = (
    f"expected {ENVIRONMENT}=model.onnx{os.pathsep}styles.npz, as kokoro-onnx has them; see docs/voices.md, or do "
    f"without this engine"
)
STYLE_SIZE = 256  # values of a row in files that have no shape

Style = Float32[np.ndarray, "row value"]


@dataclass(frozen=True, slots=True)
class Files:
    """Holds what the user has named."""

    model: Path | None  # None: the one of the packages
    styles: tuple[Path, ...]
    blends: tuple[Path, ...]


def named_files() -> Files:
    """Returns the files of the environment variable, and those in its folders, by kind.

    Raises SynthesisError for what is not there, and for two models.
    """
    named = [Path(part) for part in os.environ.get(ENVIRONMENT, "").split(os.pathsep) if part]
    for path in named:
        if not path.exists():
            raise SynthesisError(f"{ENVIRONMENT}: {path}: not there; {REMEDY}")
    paths = [each for path in named for each in (sorted(path.iterdir()) if path.is_dir() else [path])]
    models = [path for path in paths if path.suffix == ".onnx"]
    if len(models) > 1:
        raise SynthesisError(f"{ENVIRONMENT}: {models[0]} and {models[1]}; expected one model; name one of them")
    return Files(
        models[0] if models else None,
        tuple(path for path in paths if path.suffix in (".npz", ".bin")),
        tuple(path for path in paths if path.suffix == ".txt"),
    )


def read_styles(paths: Sequence[Path]) -> dict[str, Style]:
    """Returns the styles of all files by name, sorted. Raises SynthesisError for no style, and for one named twice."""
    styles: dict[str, Style] = {}
    for path in paths:
        for name, style in _styles_of(path).items():
            if name in styles:
                raise SynthesisError(
                    f"{path}: style '{name}' is in another file too; expected it once; name one of them"
                )
            styles[name] = style
    return dict(sorted(styles.items()))


def _styles_of(path: Path) -> dict[str, Style]:
    try:
        with path.open("rb") as file:
            is_archive = file.read(2) == b"PK"
        if is_archive:
            with np.load(path, allow_pickle=False) as archive:
                found = {str(name): archive[name] for name in archive.files}
        else:
            found = {path.stem: np.fromfile(path, dtype="<f4").reshape(-1, STYLE_SIZE)}
    except (ValueError, OSError, EOFError, zipfile.BadZipFile) as error:
        raise SynthesisError(
            f"{path}: no styles ({error}); expected an .npz of them, or a .bin of rows of {STYLE_SIZE} floats; get it "
            f"again"
        ) from error
    for name, style in found.items():
        if style.dtype.kind != "f" or style.ndim not in (2, 3) or style.size == 0 or not np.isfinite(style).all():
            raise SynthesisError(
                f"{path}: '{name}' is {style.dtype} of shape {style.shape}; expected finite floats [row, value]; leave "
                f"it out"
            )
    return {name: style.reshape(len(style), -1).astype(np.float32) for name, style in found.items()}


def read_blends(paths: Sequence[Path], styles: Mapping[str, Style]) -> dict[str, Style]:
    """Returns the blends of all lines by their text. Raises SynthesisError for unknown parts and wrong weights."""
    blends = {}
    for path in paths:
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
            name = "".join(line.partition("#")[0].split())
            if name:
                blends[name] = _blend(name, styles, f"{path}:{number}")
    return blends


def _blend(name: str, styles: Mapping[str, Style], where: str) -> Style:
    shares = {part.partition("=")[0]: part.partition("=")[2] for part in name.split("+")}
    if len(shares) < 2 or len(shares) != name.count("+") + 1:
        raise SynthesisError(f"{where}: '{name}'; expected two styles or more, each once, such as a=0.6+b=0.4")
    unknown = [part for part in shares if part not in styles]
    if unknown:
        raise SynthesisError(
            f"{where}: '{name}': no style '{unknown[0]}'; expected parts of {', '.join(styles)}; take the line out, or "
            f"name the file of that style in {ENVIRONMENT}"
        )
    try:
        weights = np.array([float(weight or 1.0) for weight in shares.values()])
    except ValueError as error:
        raise SynthesisError(f"{where}: '{name}'; expected numbers behind '=', such as a=0.6+b=0.4") from error
    if not all(math.isfinite(weight) and weight > 0 for weight in weights):
        raise SynthesisError(f"{where}: '{name}'; expected weights above 0, such as a=0.6+b=0.4")
    num_rows = min(len(styles[part]) for part in shares)
    stacked = np.stack([styles[part][:num_rows] for part in shares])
    return np.tensordot(weights / weights.sum(), stacked, axes=1).astype(np.float32)
