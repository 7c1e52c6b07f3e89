"""asr/engines/ray_data.py: a killed worker's share is done again; that the files are the same is in test_job.py."""

import os
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from asr.audio.stretch import Stretch
from asr.engines.ray_data import LOOPBACK_SWITCH, RayEngine, RayError
from asr.engines.work import Item, Outcome, Share
from asr.transcript import Transcript, Word
from tests.support.dying_worker import MakeMoody


def test_shares_and_outcomes_travel_as_json() -> None:
    share = Share((Item(3, Stretch(os.fsdecode(b"caf\xe9.wav"), 1.5, 2.0)), Item(4, Stretch("b.wav"))))
    assert Share.from_dict(share.to_dict()) == share
    transcript = Transcript("a b", 0.5, (Word("a", 0.0, 0.25, 0.5), Word("b", 0.5, 0.75, 0.5)), 1.0, 1, {"intent": "x"})
    for outcome in (Outcome(1, "ab", 7, 0.5, (transcript,)), Outcome(2, error="gone", error_kind="missing")):
        assert Outcome.from_dict(outcome.to_dict()) == outcome


def test_without_ray_the_remedy_is_said(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(RayError, match=r"engine: ray is not installed \(.*\); expected it: pip install -e"):
        list(RayEngine(MakeMoody(tmp_path), num_workers=2).run([Share((Item(0, Stretch("a")),))]))


@pytest.mark.parametrize(
    ("is_open", "message"),
    [(True, "engine: ray was imported before .*=0 was set"), (False, r"engine: ray does not start \(no raylet\)")],
)
def test_a_ray_that_others_could_reach_or_that_does_not_start_is_refused(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, is_open: bool, message: str
) -> None:
    ray: Any = ModuleType("ray")
    ray.data, ray.shutdown = ModuleType("ray.data"), lambda: None
    ray._private = SimpleNamespace(ray_constants=SimpleNamespace(ENABLE_RAY_CLUSTER=is_open))

    def init(**_: Any) -> None:
        raise RuntimeError("no raylet")

    ray.init = init
    monkeypatch.setitem(sys.modules, "ray", ray)
    monkeypatch.setitem(sys.modules, "ray.data", ray.data)
    monkeypatch.setenv(LOOPBACK_SWITCH, "0")
    with pytest.raises(RayError, match=message):
        list(RayEngine(MakeMoody(tmp_path), num_workers=1).run([Share((Item(0, Stretch("a")),))]))


@pytest.mark.slow
def test_a_killed_workers_share_is_done_again(tmp_path: Path) -> None:
    pytest.importorskip("ray.data", reason="needs the extra: pip install -e '.[ray]'")
    shares = [Share((Item(2 * n, Stretch("a")), Item(2 * n + 1, Stretch("once" if n == 2 else "b")))) for n in range(5)]
    found = {each.number: each for each in RayEngine(MakeMoody(tmp_path), num_workers=2).run(shares)}
    assert sorted(found) == list(range(10))
    assert found[5].transcripts[0].pred_text == "once"
    assert (tmp_path / "5.tried").exists()
    with pytest.raises(RayError, match=r"a worker under Ray failed; expected it to work:(.|\n)*a mistake"):
        list(RayEngine(MakeMoody(tmp_path), num_workers=2).run([Share((Item(0, Stretch("raise")),))]))
