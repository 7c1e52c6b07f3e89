"""Explains how a run hears one recording: recognises it, looks inside the model, and writes a picture and a page."""

from pathlib import Path

from asr.explanation.inside import explain
from asr.explanation.page import write_page
from asr.explanation.plot import PictureOptions, draw_explanation
from asr.files.packaged import results_parent
from asr.files.replacing import replacing
from asr.process.distributed import set_num_threads
from asr.recognizer import Recognizer


def run(run_dir: Path, recording: Path, *, output_dir: Path | None, shown: PictureOptions, num_threads: int) -> None:
    """Writes the picture and the page into `output_dir`, or beside the run's other results, and says where they are."""
    set_num_threads(num_threads)
    recognizer = Recognizer.load(run_dir)
    features = recognizer.features(recording)
    (transcription,) = recognizer.recognize([recognizer.log_mels(recording)])
    explanation = explain(
        recognizer.model,
        recognizer.tokenizer,
        features,
        transcription.tokens,
        hop_ms=recognizer.feature_config.hop_ms,
    )
    title = f"{recording.name}: {transcription.text or '(nothing heard)'}"
    picture = draw_explanation(explanation, shown, title=title)
    folder = output_dir or results_parent(run_dir) / "explanations"
    folder.mkdir(parents=True, exist_ok=True)
    image, page = (folder / f"{recording.stem}{suffix}" for suffix in (".png", ".html"))
    with replacing(image) as beside:
        beside.write_bytes(picture.png)
    write_page(page, explanation, picture, transcription=transcription, run=run_dir, recording=recording)
    print(f"heard: {transcription.text or '(nothing)'}")
    print(f"picture: {image}\npage: {page}")
