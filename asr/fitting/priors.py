"""Label priors of a run, measured on recordings of speech and kept in its folder.

python -m asr.commands priors runs/x data/dev.jsonl --weight 1.2
"""

from pathlib import Path

from asr.audio.reading import AudioError
from asr.data.manifest import Manifest
from asr.fitting.transcripts import ctc_scores
from asr.recognizer import Recognizer
from asr.runs.folder import RunFolder
from asr.understanding.label_priors import LabelPriors, measure_priors


def keep_priors(run: Path, manifest: Path, *, weight: float) -> tuple[LabelPriors, list[str]]:
    """Measure the priors over a manifest's recordings, keep them in the run folder; what could not be read is said.

    A threshold calibrated before was for scores of another scale: from now on the run counts as not calibrated.
    Raises LabelPriorsError where no recording could be read.
    """
    recognizer, folder, faults = Recognizer.load(run), RunFolder(run), []
    scores = []
    for item in Manifest.read(manifest):
        try:
            scores.append(ctc_scores(recognizer, item))
        except AudioError as error:
            faults.append(f"{item.id}: {error}")
    priors = measure_priors(scores, weight=weight)
    priors.save(folder.label_priors_path, model=str(folder.read_record().get("model")))
    return priors, faults
