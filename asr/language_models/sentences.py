"""Sentences to train a language model on: from manifests, or from text files with one sentence a line."""

from array import array
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
from pydantic import Field, model_validator

from asr.data.dataset import open_manifest
from asr.data.examples import Example
from asr.files.digest import file_digest
from asr.section import Section
from asr.text import EOS_ID, Tokenizer
from asr.text.normalization import normalize_transcript


class TextSourceConfig(Section):
    """One text of the training mix: the transcripts of a manifest, or a file of sentences."""

    manifest: str | None = Field(None, description="JSON lines of utterances; their transcripts as they are")
    text: str | None = Field(None, description="UTF-8, one sentence a line; normalised as transcripts are")
    weight: float = Field(1.0, gt=0.0, description="how often an epoch visits each sentence; 0.5: half of them")
    distinct: bool = Field(False, description="each sentence once, however many speakers have read it")

    @model_validator(mode="after")
    def _one_of_both(self) -> "TextSourceConfig":
        if (self.manifest is None) == (self.text is None):
            raise ValueError("expected either manifest: FILE.jsonl or text: FILE.txt, and not both")
        return self

    @property
    def path(self) -> Path:
        return Path(str(self.manifest or self.text))

    def files(self) -> dict[str, Path]:
        """Returns what must be there, by its key."""
        return {"manifest" if self.manifest else "text": self.path}

    def digest(self) -> str:
        """SHA-256 of the file, in hex."""
        if self.manifest:
            return open_manifest(self.manifest).digest
        return file_digest(self.path)

    def texts(self) -> Iterator[str]:
        """Yields the sentences, a line each; some may be empty. Raises ValueError for a file that is not UTF-8."""
        seen: set[str] = set()
        for text in self._lines():
            yield "" if text in seen else text
            if self.distinct:
                seen.add(text)

    def _lines(self) -> Iterator[str]:
        if self.manifest:
            yield from open_manifest(self.manifest).texts()
            return
        try:
            with self.path.open(encoding="utf-8-sig", newline="\n") as file:
                yield from (normalize_transcript(line) for line in file)
        except UnicodeDecodeError as error:
            raise ValueError(f"{self.path}: not UTF-8 ({error}); expected plain text, one sentence a line") from None


class TextDataConfig(Section):
    train: tuple[TextSourceConfig, ...] = Field(min_length=1, description="what an epoch is made of")
    dev: TextSourceConfig = Field(description="scored after each epoch; chooses the weights")
    prepare: str | None = Field(None, description="the command that makes the files, said when they are missing")
    batch_tokens: int = Field(4000, ge=1, description="padded tokens in one optimizer step, over all processes")
    max_tokens: int = Field(1000, ge=1, description="longer sentences are left out and counted")
    num_workers: int = Field(0, ge=0, description="processes that put batches together ahead of the model; 0: none")


class TextDataset:
    """Holds sentences as tokens, all in memory, and gives them to a training as a Dataset gives utterances."""

    def __init__(self, sources: Sequence[TextSourceConfig], *, tokenizer: Tokenizer) -> None:
        self.tokenizer = tokenizer
        self._sources = sources
        ids, ends, lines, owners, words = array("i"), [0], [], [], []
        for owner, source in enumerate(sources):
            for line, text in enumerate(source.texts(), 1):
                if text.split():
                    ids.extend([*tokenizer.encode(text), EOS_ID])
                    ends.append(len(ids))
                    lines.append(line)
                    owners.append(owner)
                    words.append(len(text.split()))
        self._ids, self._ends = np.array(ids, np.int32), np.array(ends)
        self._lines, self._owners = np.array(lines, np.int64), np.array(owners, np.int64)
        self.sizes = np.diff(self._ends).astype(np.float32)  # tokens, <eos> counted
        self.num_words = np.array(words, np.int64)
        self.weights = np.array([source.weight for source in sources], np.float32)[self._owners]

    def __len__(self) -> int:
        return len(self._lines)

    def name(self, index: int) -> str:
        """Returns where a sentence stands."""
        return f"{self._sources[self._owners[index]].path}:{self._lines[index]}"

    def tokens(self, index: int) -> list[int]:
        """Returns the tokens with EOS_ID at the end, which a language model predicts too."""
        return self._ids[self._ends[index] : self._ends[index + 1]].tolist()

    def example(self, index: int, epoch: int | None = None) -> Example:
        """Returns a sentence in the form of a Dataset's example; it is the same in every epoch."""
        return Example(self.name(index), index, torch.zeros(0, 0), self.tokens(index), audio_seconds=0.0)

    def views(self, index: int, epoch: int) -> list[Example]:
        """Returns the one view that there is of a sentence."""
        return [self.example(index, epoch)]
