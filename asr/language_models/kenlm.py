"""An n-gram model read by KenLM: for files that are too large for the built-in reader, and binary ones."""

import math
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from asr.language_models.ngram import NEVER, token_symbols
from asr.text import BOS_ID, Tokenizer


class KenLMError(ValueError):
    """A file that KenLM cannot read, or KenLM itself is missing."""


class KenLMScorer:
    """The log-probabilities of KenLM (Heafield 2011) for every next token; the state is the last tokens (Scorer)."""

    def __init__(self, path: Path, tokenizer: Tokenizer) -> None:
        """Raises KenLMError where the package is missing or the file is none of a model over the tokenizer's tokens."""
        self._model = open_kenlm(path)
        self.vocabulary_size = tokenizer.vocabulary_size
        symbols = token_symbols(tokenizer)
        if missing := sorted(symbol for symbol in symbols if symbol not in self._model and symbol != "<unk>"):
            raise KenLMError(
                f"{path}: not over the tokens of this tokenizer: it lacks {', '.join(map(repr, missing[:5]))}; train "
                "one with tokenizer: {kind: run, run: RUN}"
            )
        self._symbols: list[str | None] = [None] * self.vocabulary_size
        for symbol, token in symbols.items():
            self._symbols[token] = symbol

    def start(self, num_rows: int, device: torch.device) -> tuple[Tensor, ...]:
        """No tokens yet: -1 in the place of each."""
        return (torch.full((num_rows, max(1, self._model.order - 1)), -1, device=device),)

    def step(
        self, tokens: Int[Tensor, " row"], state: tuple[Tensor, ...]
    ) -> tuple[Float[Tensor, "row vocabulary"], tuple[Tensor, ...]]:
        history = torch.cat((state[0][:, 1:], tokens[:, None]), dim=1)
        rows = [self._row(row) for row in history.tolist()]
        return torch.tensor(rows, device=tokens.device), (history,)

    def _row(self, history: list[int]) -> list[float]:
        import kenlm

        new_state = kenlm.State  # pyright: ignore[reportAttributeAccessIssue]
        before, after = new_state(), new_state()
        self._model.NullContextWrite(before)
        for token in history:
            if token == BOS_ID:
                self._model.BeginSentenceWrite(before)
            elif token >= 0:
                self._model.BaseScore(before, self._symbols[token] or "<unk>", after)
                before, after = after, before
        scores = (
            NEVER if symbol is None else self._model.BaseScore(before, symbol, after) * math.log(10)
            for symbol in self._symbols
        )
        return [max(NEVER, score) for score in scores]


def open_kenlm(path: Path) -> Any:
    """KenLM's model of an ARPA or a binary file; raises KenLMError."""
    try:
        import kenlm
    except ImportError:
        raise KenLMError(f"{path}: KenLM is needed to read it; install it with: pip install 'earshot[kenlm]'") from None
    try:
        return kenlm.Model(str(path))  # pyright: ignore[reportAttributeAccessIssue]
    except (OSError, RuntimeError) as error:
        raise KenLMError(f"{path}: KenLM cannot read it ({error}); expected an ARPA or a KenLM binary file") from None
