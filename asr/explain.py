"""Look inside a model while it hears a recording: python -m asr.explain RUN RECORDING

Writes one picture and one page that needs nothing else: the log-mel, what CTC and attention made of it, the gates and
the memory of a recurrent layer, what each word hung on, and the words under the time axis.
"""

import argparse
from pathlib import Path

from asr.files.packaged import locate, results_parent
from asr.runtime import EXIT_OK, Parser, program_name, run_program


def main(arguments: list[str] | None = None) -> int:
    options = _parse(arguments)

    from asr.distributed import set_num_threads
    from asr.explanation.inside import explain
    from asr.explanation.page import write_page
    from asr.explanation.plot import PictureOptions, draw_explanation
    from asr.files.replacing import replacing
    from asr.recognizer import Recognizer

    set_num_threads(options.num_threads)
    recognizer = Recognizer.load(options.run)
    features = recognizer.features(options.recording)
    (transcription,) = recognizer.recognize([recognizer.log_mels(options.recording)])
    explanation = explain(
        recognizer.model,
        recognizer.tokenizer,
        features,
        transcription.tokens,
        hop_ms=recognizer.feature_config.hop_ms,
    )
    shown = PictureOptions(layer=options.layer, units=options.units)
    title = f"{options.recording.name}: {transcription.text or '(nothing heard)'}"
    picture = draw_explanation(explanation, shown, title=title)
    folder = options.output_dir or results_parent(options.run) / "explanations"
    folder.mkdir(parents=True, exist_ok=True)
    image, page = (folder / f"{options.recording.stem}{suffix}" for suffix in (".png", ".html"))
    with replacing(image) as beside:
        beside.write_bytes(picture.png)
    write_page(page, explanation, picture, transcription=transcription, run=options.run, recording=options.recording)
    print(f"heard: {transcription.text or '(nothing)'}")
    print(f"picture: {image}\npage: {page}")
    return EXIT_OK


def _parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = Parser(prog=program_name("asr.explain"), description=(__doc__ or "").splitlines()[0])
    parser.add_argument("run", type=locate, help="a run folder of asr.train")
    parser.add_argument("recording", type=locate, help="an audio file of some seconds")
    parser.add_argument("--output-dir", type=Path, help="default: RUN/explanations")
    parser.add_argument("--layer", type=int, help="the recurrent layer to draw, counted from 1 (default: the last)")
    parser.add_argument(
        "--units",
        type=_units,
        help="its units to draw one by one, such as 3,17; 'none' for the means alone (default: the two that move most)",
    )
    parser.add_argument("--num-threads", type=int, default=1, help="CPU threads (default: %(default)s)")
    return parser.parse_args(arguments)


def _units(text: str) -> tuple[int, ...]:
    if text == "none":
        return ()
    try:
        return tuple(int(part) for part in text.split(","))
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r}; expected numbers, such as 3,17, or 'none'") from None


if __name__ == "__main__":
    run_program(main)
