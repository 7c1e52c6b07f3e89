"""Shows a few dev utterances in wandb: a table to listen to and read, log-mels and explanations to look at."""

import io
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

import numpy as np
from jaxtyping import Float

NUM_IMAGES = 4  # log-mels


@dataclass(frozen=True)
class DevUtterance:
    """One recognised dev utterance, to look at and listen to."""

    id: str
    samples: Float[np.ndarray, " sample"]
    sample_rate: int  # hertz
    reference: str
    hypothesis: str
    alignment: Sequence[tuple[str, str]]  # (reference word, hypothesis word), "" where there is none
    log_mel: Float[np.ndarray, "frame mel"]
    explanation: bytes | None = None  # PNG of what the model made of it, where it was drawn


def wandb_media(rows: Sequence[DevUtterance]) -> dict[str, Any]:
    """Returns a table to listen to and read, the log-mels of the first few, and each explanation under a name of its
    own.

    A name of its own lets one see how an explanation changes over the epochs.
    """
    import wandb
    from PIL import Image

    table = wandb.Table(columns=["id", "audio", "reference", "hypothesis", "errors", "num_errors"])
    for row in rows:
        audio = wandb.Audio(row.samples, sample_rate=row.sample_rate)
        num_errors = sum(reference != hypothesis for reference, hypothesis in row.alignment)
        marked = wandb.Html(mark_errors(row.alignment), inject=False)
        table.add_data(row.id, audio, row.reference, row.hypothesis, marked, num_errors)
    pictures = [_picture(row.log_mel) for row in rows[:NUM_IMAGES]]
    width = max(picture.shape[1] for picture in pictures)  # wandb shows images of one size only
    images = [
        wandb.Image(
            np.pad(picture, ((0, 0), (0, width - picture.shape[1])), constant_values=255),
            caption=f"{row.id}: {row.reference}",
        )
        for picture, row in zip(pictures, rows)
    ]
    explained = {
        f"dev/explanation_{number}": wandb.Image(Image.open(io.BytesIO(png)), caption=f"{row_id}: {reference}")
        for number, (row_id, reference, png) in enumerate(
            ((row.id, row.reference, row.explanation) for row in rows if row.explanation is not None), 1
        )
    }
    return {"dev/utterances": table, "dev/log_mel": images, **explained}


def mark_errors(alignment: Sequence[tuple[str, str]]) -> str:
    """HTML of an alignment: what was missed struck out in red, what was heard instead underlined in green."""
    words = []
    for reference, hypothesis in alignment:
        if reference == hypothesis:
            words.append(escape(reference))
            continue
        missed = f'<del style="color:#b3261e">{escape(reference)}</del>' if reference else ""
        heard = f'<ins style="color:#1b6e3a">{escape(hypothesis)}</ins>' if hypothesis else ""
        words.append(missed + heard)
    return f'<p style="font-family:sans-serif">{" ".join(words)}</p>'


def _picture(log_mel: Float[np.ndarray, "frame mel"]) -> np.ndarray:
    """Grey levels [mel, frame]: time to the right, high mels on top, loud is dark."""
    low, high = float(log_mel.min()), float(log_mel.max())
    loudness = (log_mel.T[::-1] - low) / max(high - low, 1e-6)
    return np.rint(255 * (1 - loudness)).astype(np.uint8)
