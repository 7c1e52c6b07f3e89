"""How long a large manifest takes to load, and how much memory: `python tests/bench/manifest.py [NUM_LINES]`."""

import json
import resource
import sys
import tempfile
import time
from pathlib import Path

from asr.manifest import Manifest


def write_lines(path: Path, num_lines: int) -> None:
    """Lines of the size and form a corpus of short sentences has, written without the library's own checks."""
    words = "turn the lights on in the kitchen and play some music for half an hour".split()
    with path.open("w") as file:
        for index in range(num_lines):
            text = " ".join(words[index % 5 : 6 + index % 9])
            record = {
                "id": f"speaker{index % 5000:04}-{index:07}",
                "audio_filepath": f"audio/{index % 5000:04}/{index:07}.flac",
                "duration": 1 + index % 997 / 100,
                "text": text,
                "speaker": f"speaker{index % 5000:04}",
            }
            file.write(json.dumps(record) + "\n")


def main() -> None:
    num_lines = int(sys.argv[1]) if len(sys.argv) > 1 else 1_000_000
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "large.jsonl")
        write_lines(path, num_lines)
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        start = time.perf_counter()
        manifest = Manifest.read(path)
        seconds = time.perf_counter() - start
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        start = time.perf_counter()
        for index in range(0, len(manifest), max(1, len(manifest) // 1000)):
            manifest[index]
        print(f"{len(manifest):,} lines, {path.stat().st_size / 1e6:.0f} MB")
        print(f"load: {seconds:.2f} s (limit 10); an utterance: {(time.perf_counter() - start) * 1e3:.1f} us")
        print(f"peak RSS: {peak / 1024:.0f} MB (limit 1024), of which {before / 1024:.0f} MB before loading")


if __name__ == "__main__":
    main()
