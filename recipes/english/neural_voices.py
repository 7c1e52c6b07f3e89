"""Splits a manifest of Kokoro's voices into what is trained with and what only tests hear.

    python recipes/english/neural_voices.py CORPORA_DIR/neural_voices data/english/neural

Six styles, and each blend that holds one of them, are kept for tests. Sentences of the coffee orders are written apart:
the English model is trained on none of them, recipes/barista_bilstm_ctc on all. dev.jsonl has every fifth sentence of
the voices of the tests.
"""

import json
import sys
from pathlib import Path

OF_TESTS = {"am_michael", "bf_emma", "af_bella", "bm_george", "am_puck", "af_nova"}


def split_of(entry: dict[str, str]) -> str:
    """Returns the name of the manifest that an utterance belongs into."""
    parts = {part.partition("=")[0] for part in entry["speaker"].split("+")}
    kind = "orders" if entry["kind"] == "order" else "everyday"
    return f"held_out_{kind}" if parts & OF_TESTS else kind


def main(source: Path, target: Path) -> None:
    """Writes everyday.jsonl, orders.jsonl, the same of the voices of the tests, and dev.jsonl into `target`."""
    splits: dict[str, list[str]] = {"everyday": [], "orders": [], "held_out_everyday": [], "held_out_orders": []}
    for line in (source / "manifest.jsonl").read_text(encoding="utf-8").split("\n"):
        if line:
            entry = json.loads(line)
            entry["audio_filepath"] = str((source / entry["audio_filepath"]).absolute())
            splits[split_of(entry)].append(json.dumps(entry, ensure_ascii=False))
    splits["dev"] = splits["held_out_everyday"][::5]
    target.mkdir(parents=True, exist_ok=True)
    for name, lines in splits.items():
        (target / f"{name}.jsonl").write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
