"""Workers under Ray Data (extra `ray`), on one machine or a cluster; one that dies is replaced and its work redone.

Without an address, Ray is started on this machine for the job alone, bound to loopback and without its dashboard. The
machines of a cluster must see the recordings, the run folder and this package under the same paths.
"""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from asr.engines.work import Outcome, Share
from asr.process.runtime import count_cores

ROOT = Path(__file__).resolve().parents[2]
NUM_RETRIES = 3  # of a share whose worker died
LOOPBACK_SWITCH = "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"
OBJECT_STORE_BYTES = 128 << 20  # shares and results are text, some kilobytes each


class RayError(RuntimeError):
    """Ray is not installed, or a worker under it failed."""


@runtime_checkable
class RayWorker(Protocol):
    def __call__(self, share: Share) -> list[Outcome]: ...


class RayEngine:
    """Runs shares by workers under Ray; as LocalEngine, but that a worker is made for each run."""

    def __init__(
        self,
        make: Callable[[int], RayWorker],
        *,
        num_workers: int,
        address: str | None = None,
        cpus_per_worker: float = 1.0,
        gpus_per_worker: float = 0.0,
    ) -> None:
        self._make, self._num_workers, self._address = make, num_workers, address
        self._needs = {"num_cpus": cpus_per_worker, "num_gpus": gpus_per_worker}

    def run(self, shares: Iterable[Share]) -> Iterator[Outcome]:
        """Yields what became of every recording of the shares, in no certain order. Raises RayError."""
        texts = [json.dumps(share.to_dict()) for share in shares]
        make = TextWorker(self._make)
        for text in run_on_ray(make, texts, num_workers=self._num_workers, address=self._address, **self._needs):
            yield from (Outcome.from_dict(values) for values in json.loads(text))

    def close(self) -> None:
        """Ray has ended with the run."""


class TextWorker:
    """Makes what takes a share and gives outcomes, both as JSON."""

    def __init__(self, make: Callable[[int], RayWorker]) -> None:
        self._make = make

    def __call__(self) -> Callable[[str], str]:
        worker = self._make(0)  # Ray shows each actor its own GPU as the first one

        def work(text: str) -> str:
            return json.dumps([outcome.to_dict() for outcome in worker(Share.from_dict(json.loads(text)))])

        return work


def run_on_ray(
    make: Callable[[], Callable[[str], str]],
    texts: list[str],
    *,
    num_workers: int,
    address: str | None = None,
    num_cpus: float = 1.0,
    num_gpus: float = 0.0,
) -> Iterator[str]:
    """Yields what workers answer to each text, in no certain order; `make` gives a worker, once in each actor.

    A worker that dies is replaced, and its text is given to another, NUM_RETRIES times. Raises RayError where Ray is
    not there, or a worker raises something.
    """
    ray = _start(address, num_workers=num_workers)
    try:
        data = ray.data.from_items([{"text": text} for text in texts], override_num_blocks=len(texts))
        answers = data.map_batches(
            _Actor,
            fn_constructor_args=(make,),
            batch_size=1,
            batch_format="numpy",
            compute=ray.data.ActorPoolStrategy(size=min(num_workers, len(texts))),
            num_cpus=num_cpus,
            num_gpus=num_gpus or None,
            ray_remote_args_fn=lambda: {"max_restarts": -1, "max_task_retries": NUM_RETRIES},
        )
        for row in answers.iter_rows():
            yield row["answer"]
    except ray.exceptions.RayError as error:
        raise RayError(f"a worker under Ray failed; expected it to work:\n{error}") from None
    finally:
        ray.shutdown()


class _Actor:
    """Is what Ray Data calls."""

    def __init__(self, make: Callable[[], Callable[[str], str]]) -> None:
        self._work = make()

    def __call__(self, batch: dict[str, Any]) -> dict[str, list[str]]:
        return {"answer": [self._work(str(text)) for text in batch["text"]]}


def _start(address: str | None, *, num_workers: int) -> Any:
    """Ray, connected to a cluster, or to one of its own on this machine that nobody else can reach."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # it would report to its makers
    if address is None:
        # Ray's switch for "this machine only", whatever its system: without it, 127.0.0.1 is taken for the address by
        # which other machines reach this one. Ray looks at it when it is imported.
        os.environ[LOOPBACK_SWITCH] = "0"
    try:
        import ray  # pyright: ignore[reportMissingImports]
        import ray.data  # pyright: ignore[reportMissingImports]
    except ImportError as error:
        raise RayError(f"engine: ray is not installed ({error}); expected it: pip install -e '.[ray]'") from None
    private: Any = ray._private
    if address is None and private.ray_constants.ENABLE_RAY_CLUSTER:
        raise RayError(
            f"engine: ray was imported before {LOOPBACK_SWITCH}=0 was set, so that others could reach it; expected it "
            "to be imported by this engine; set that in the environment, or give the address of a cluster"
        )
    logging.getLogger("ray.data").setLevel(logging.ERROR)
    paths = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
    options: dict[str, Any] = {
        "runtime_env": {"env_vars": {"PYTHONPATH": paths, "OMP_NUM_THREADS": "1"}},
        "logging_level": "error",
        "log_to_driver": False,
    }
    if address is None:
        options |= {
            "num_cpus": max(num_workers, count_cores()),
            "include_dashboard": False,
            "object_store_memory": OBJECT_STORE_BYTES,
        }
    try:
        ray.init(address=address or "local", **options)
    except Exception as error:  # noqa: BLE001 - Ray raises Exception itself where its processes are slow to start
        ray.shutdown()
        raise RayError(
            f"engine: ray does not start ({error}); expected it to, within half a minute; wait until the machine is "
            "less busy, look for the cluster at its address, or use engine local"
        ) from None
    ray.data.DataContext.get_current().enable_progress_bars = False
    return ray
