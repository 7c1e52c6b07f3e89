"""Arrays of samples that a caller gives, checked at the door."""

import numpy as np

from asr.runs.recognizer import RecognizerError

NUMBERS = {0: "none", 1: "one"}


def check_samples(samples: np.ndarray, *, fewest: int = 1) -> None:
    """Raise RecognizerError where an array is not samples of one channel, or holds what is no number."""
    if samples.ndim != 1 or samples.size < fewest or not np.issubdtype(samples.dtype, np.floating):
        raise RecognizerError(
            f"samples: an array of {samples.dtype} {list(samples.shape)}; expected floating-point samples in -1..1 "
            f"of one channel, [sample], at least {NUMBERS[fewest]} (int16: divide by 32768; stereo: take the mean)"
        )
    if not np.isfinite(samples).all():
        raise RecognizerError("samples: NaN or infinite; expected finite samples in -1..1")
