"""What pocketsphinx makes of commands, by the rule that we are scored by: the share accepted and its real-time factor.

    python -m tests.bench.pocketsphinx_commands conf/commands/barista.yaml data/barista/*.jsonl

Needs `pip install pocketsphinx==5.1.1`, whose English model it uses, with the grammar as JSGF. What it hears is kept in
--output-dir, a line a recording; run again, it goes on where it was. Its mean of cepstra starts anew for each recording
(carried on from one to the next, or over the whole recording, which is mostly silence, it hears less).
"""

import argparse
import json
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
from rich.console import Console
from rich.progress import track

from asr.audio.reading import read_audio
from asr.data.manifest import Manifest
from asr.grammar.exporters import export_jsgf
from asr.grammar.parsing import SentenceParser
from asr.grammar.sampling import Sampler
from asr.grammar.templates import load_grammar
from asr.understanding.acceptance import Condition, noise_of, show_conditions
from asr.understanding.result import CommandGuess, CommandResult
from asr.understanding.scoring import Labelled, score_commands

SAMPLE_RATE = 16_000  # hertz, of its model
CHUNK_BYTES = 4096  # given to it at a time, as from a microphone


def load_decoder(grammar: Path, *, dictionary: Path | None, bestpath: bool) -> Any:
    """pocketsphinx with its own English model, which hears sentences of the grammar only."""
    from pocketsphinx import Decoder

    decoder = Decoder(lm=None, loglevel="FATAL", samprate=SAMPLE_RATE, bestpath=bestpath)
    for line in dictionary.read_text(encoding="utf-8").splitlines() if dictionary else []:
        word, phones = line.split(maxsplit=1)
        decoder.add_word(word, phones, False)
    words = Sampler(load_grammar(grammar)).words
    if missing := [word for word in words if decoder.lookup_word(word) is None]:
        raise SystemExit(
            f"{grammar}: words that pocketsphinx has no pronunciation of: {', '.join(missing)}; expected them in "
            f"--dictionary, such as: unmute AH N M Y UW T"
        )
    decoder.add_jsgf_string("commands", export_jsgf(grammar))
    decoder.activate_search("commands")
    return decoder


def hear(decoder: Any, path: str, *, offset: float, duration: float) -> dict[str, Any]:
    """What it hears in one recording, and the processor time that reading and hearing took."""
    start = time.process_time()
    samples = read_audio(path, sample_rate=SAMPLE_RATE, offset=offset, duration=duration)
    pcm = (samples * 32767).round().astype(np.int16).tobytes()
    decoder.start_utt()
    for first in range(0, len(pcm), CHUNK_BYTES):
        decoder.process_raw(pcm[first : first + CHUNK_BYTES])
    decoder.end_utt()
    hypothesis = decoder.hyp()
    return {"text": hypothesis.hypstr if hypothesis else "", "cpu_seconds": round(time.process_time() - start, 4)}


def hear_all(decoder: Any, manifest: Manifest, path: Path) -> dict[str, dict[str, Any]]:
    """By id, what is heard in each utterance; appended to `path`, where what is there is not heard again."""
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = path.read_text(encoding="utf-8").splitlines() if path.is_file() else []
    heard = {record["id"]: record for record in map(json.loads, lines)}
    initial_mean = decoder.get_cmn(False)
    with path.open("a", encoding="utf-8") as file:
        for item in track([item for item in manifest if item.id not in heard], description=path.stem, transient=True):
            decoder.set_cmn(initial_mean)
            found = hear(decoder, item.audio_filepath, offset=item.offset, duration=item.duration)
            heard[item.id] = {"id": item.id, **found}
            file.write(json.dumps(heard[item.id]) + "\n")
            file.flush()
    return heard


def label_all(manifest: Manifest, heard: dict[str, dict[str, Any]], parser: SentenceParser) -> Iterator[Labelled]:
    for item in manifest:
        text = heard[item.id]["text"]
        guesses = [CommandGuess(text, meaning.intent, meaning.slots, 0.0) for meaning in parser.parse(text)[:1]]
        result = CommandResult(
            understood=bool(guesses),
            text=text,
            intent=guesses[0].intent if guesses else None,
            slots=guesses[0].slots if guesses else {},
            words=(),
            score=0.0,
            certainty=0.0,
            agreement=0.0,
            confidence=1.0,
            guesses=tuple(guesses),
            heard=text,
        )
        yield Labelled(item.extra["intent"], item.extra["slots"], result, item.duration)


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("grammar", type=Path, help="YAML of sentence templates")
    arguments.add_argument("manifests", type=Path, nargs="+", help="with intent and slots in each line")
    arguments.add_argument("--output-dir", type=Path, default=Path("runs/pocketsphinx"), help="(default: %(default)s)")
    arguments.add_argument("--dictionary", type=Path, help="more words with their phones, a line each")
    arguments.add_argument("--first-pass", action="store_true", help="without its search of the lattice (much faster)")
    options = arguments.parse_args()
    decoder = load_decoder(options.grammar, dictionary=options.dictionary, bestpath=not options.first_pass)
    parser = SentenceParser(load_grammar(options.grammar))
    conditions = []
    for path in options.manifests:
        manifest = Manifest.read(path)
        name = f"{manifest.path.parent.name}-{path.stem}"
        heard = hear_all(decoder, manifest, options.output_dir / f"{name}.jsonl")
        conditions.append(
            Condition(
                name,
                score_commands(label_all(manifest, heard, parser)),
                snr_db=noise_of(manifest),
                audio_seconds=float(manifest.durations.sum(dtype=np.float64)),
                seconds=sum(each["cpu_seconds"] for each in heard.values()),
            )
        )
        show_conditions(Console(), conditions)


if __name__ == "__main__":
    main()
