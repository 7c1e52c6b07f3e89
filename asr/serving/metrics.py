"""Figures of a server, in Prometheus' text format."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

SECONDS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)


class Metrics:
    """The figures of one server; none of them holds what was said."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        names = {"registry": self._registry, "namespace": "earshot"}
        self.requests = Counter(
            "requests", "Answered, by door (http, websocket, wyoming) and status.", ("door", "status"), **names
        )
        self.audio_seconds = Counter("audio_seconds", "Seconds of audio that were recognised.", **names)
        self.sessions = Gauge("sessions", "Requests and streams that are served now.", **names)
        self.waiting = Gauge("waiting", "Utterances that wait for the model now.", **names)
        self.batch_sizes = Histogram(
            "batch_utterances", "Utterances of each batch.", buckets=(1, 2, 4, 8, 16, 32, 64), **names
        )
        self.model_seconds = Histogram(
            "model_seconds", "Seconds that the model took for each batch.", buckets=SECONDS, **names
        )
        self.request_seconds = Histogram(
            "request_seconds", "Seconds from a request to the end of its answer.", ("door",), buckets=SECONDS, **names
        )
        self.grammar_swaps = Counter(
            "grammar_swaps", "Changes of the grammar's file, by result (swapped, refused).", ("result",), **names
        )

    def text(self) -> bytes:
        """Returns all figures as Prometheus reads them."""
        return generate_latest(self._registry)
