"""A table of words: start and end in seconds, the word, its confidence; tabs between them, a header above."""

import csv
import io

from asr.transcript import Transcript

COLUMNS = ("start", "end", "word", "confidence")


def render(transcript: Transcript, *, name: str) -> str:
    text = io.StringIO()
    table = csv.writer(text, dialect="excel-tab", lineterminator="\n")
    table.writerow(COLUMNS)
    for word in transcript.words:
        table.writerow([f"{word.start:.3f}", f"{word.end:.3f}", word.word, f"{word.confidence:.4f}"])
    return text.getvalue()
