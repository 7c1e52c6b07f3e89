"""Decides who is let in: the token, how many at a time, how many a minute, and nobody once the server is to stop."""

from __future__ import annotations

import asyncio
import hmac
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from asr.serving.batching import Batcher
from asr.serving.config import ServingLimits
from asr.serving.metrics import Metrics
from asr.serving.refusal import Refusal

SHORTEST_TOKEN = 16  # characters
MOST_ADDRESSES = 10_000  # whose requests are counted; those that were seen longest ago are forgotten


class TokenError(ValueError):
    """A token's file that cannot be used."""


def read_token(path: str | Path) -> str:
    """Returns the first line of a file. Raises TokenError where it is no token that is hard to guess."""
    try:
        token = Path(path).read_text(encoding="ascii").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise TokenError(f"{path}: cannot be read ({error}); expected a file with a token in one line") from error
    if len(token) < SHORTEST_TOKEN or len(token.split()) != 1:
        raise TokenError(
            f"{path}: {len(token)} characters in {len(token.split())} words; expected one of at least "
            f"{SHORTEST_TOKEN} characters: python -c 'import secrets; print(secrets.token_urlsafe())' > {path}"
        )
    return token


class Admission:
    """Counts who is served. All of its methods are for the event loop's thread."""

    def __init__(
        self,
        batcher: Batcher,
        *,
        limits: ServingLimits,
        metrics: Metrics,
        token: str | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.batcher, self.limits, self.metrics = batcher, limits, metrics
        self._token = token.encode() if token is not None else None
        self._clock = clock
        self._num_sessions = 0
        self._allowances: OrderedDict[str, tuple[float, float]] = OrderedDict()  # requests left, and when that was so
        self.is_stopping = asyncio.Event()
        self._is_empty = asyncio.Event()
        self._is_empty.set()

    @property
    def num_sessions(self) -> int:
        """Returns how many requests and streams are served."""
        return self._num_sessions

    def check_token(self, authorization: str | None) -> None:
        """Raise Refusal where a token is needed, and this header does not have it."""
        if self._token is None:
            return
        scheme, _, given = (authorization or "").partition(" ")
        is_right = hmac.compare_digest(given.strip().encode(), self._token)
        if scheme.lower() != "bearer" or not is_right:
            found = "none" if not authorization else "another one"
            raise Refusal(
                401,
                f"token: {found}; expected the server's, as 'Authorization: Bearer TOKEN'",
                code="invalid_api_key",
            )

    def check_rate(self, address: str) -> None:
        """Count a request of an address. Raises Refusal where it has had its share of this minute."""
        most = self.limits.requests_per_minute
        if not most:
            return
        now = self._clock()
        left, before = self._allowances.pop(address, (float(most), now))
        left = min(float(most), left + (now - before) * most / 60)
        self._allowances[address] = (left - 1 if left >= 1 else left, now)
        if len(self._allowances) > MOST_ADDRESSES:
            self._allowances.popitem(last=False)
        if left < 1:
            raise Refusal(
                429,
                f"requests: more than {most} a minute; expected at most that; wait",
                code="rate_limit_exceeded",
                retry_after=(1 - left) * 60 / most,
            )

    @contextmanager
    def session(self) -> Iterator[None]:
        """Holds a place for one request or stream, for as long as it is served. Raises Refusal where there is no room
        for it.
        """
        self._check_room()
        self._change(1)
        try:
            yield
        finally:
            self._change(-1)

    def _check_room(self) -> None:
        if self.is_stopping.is_set():
            raise Refusal(503, "server: stopping; expected another one; try again", code="stopping", retry_after=5)
        wait = max(1.0, self.batcher.expected_wait())
        if self._num_sessions >= self.limits.sessions:
            raise Refusal(
                429,
                f"sessions: {self._num_sessions} are served; expected fewer than {self.limits.sessions}; try later",
                code="busy",
                retry_after=wait,
            )
        if self.batcher.num_waiting >= self.limits.waiting:
            raise Refusal(
                429,
                f"queue: {self.batcher.num_waiting} utterances wait; expected fewer than {self.limits.waiting}; "
                "try later",
                code="busy",
                retry_after=wait,
            )

    def _change(self, number: int) -> None:
        self._num_sessions += number
        self.metrics.sessions.set(self._num_sessions)
        if self._num_sessions:
            self._is_empty.clear()
        else:
            self._is_empty.set()

    async def drain(self) -> bool:
        """Let nobody in any more, and return whether all have gone within `drain_seconds`."""
        self.is_stopping.set()
        try:
            await asyncio.wait_for(self._is_empty.wait(), self.limits.drain_seconds)
        except TimeoutError:
            return False
        return True
