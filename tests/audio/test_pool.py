"""asr/audio/pool.py: a decoder that crashes, spins, hangs or swells costs one recording, the others nothing."""

import io
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import soundfile

from asr.audio.pool import AudioLimits, AudioPool, _Died, _Process
from asr.audio.reading import AudioError, read_audio
from asr.audio.stretch import Stretch
from tests.support.small_run import some_speech, write_recordings

CRASHING = (sys.executable, str(Path(__file__).parents[1] / "support" / "crashing_worker.py"))


@pytest.fixture(scope="module")
def recordings(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    return write_recordings(tmp_path_factory.mktemp("audio"), [0.6, 2.5, 0.9, 1.2])


@pytest.fixture(scope="module")
def pool():
    with AudioPool(sample_rate=16_000, num_processes=2, whole_seconds=2.0) as pool:
        yield pool


def test_samples_are_those_of_the_file_in_the_order_asked_for(pool: AudioPool, recordings: list[Path]) -> None:
    order = [2, 0, 1, 3, 1, 0]
    found = list(pool.read(Stretch(str(recordings[index])) for index in order))
    assert [decoded.stretch.path for decoded in found] == [str(recordings[index]) for index in order]
    for decoded in found:
        expected = read_audio(decoded.stretch.path, sample_rate=16_000)
        assert decoded.error is None
        np.testing.assert_array_equal(np.concatenate(list(decoded.blocks())), expected)
        assert decoded.facts is not None
        assert decoded.facts.num_samples == len(expected)
        assert (decoded.facts.num_channels, len(decoded.facts.sha256)) == (1, 64)


def test_a_long_recording_comes_in_blocks(pool: AudioPool, tmp_path: Path) -> None:
    path = tmp_path / "long.wav"
    soundfile.write(path, some_speech(0, 30.0, 8000), 8000)
    for _ in range(3):  # read to its end, left in the middle, and read again
        (decoded,) = pool.read([Stretch(str(path))])
        blocks = decoded.blocks()
        assert 2.0 < len(next(blocks)) / 16_000 < 7.0
        next(blocks)
        decoded.rest.close()  # type: ignore[union-attr]
    (decoded,) = pool.read([Stretch(str(path))])
    assert decoded.facts is None
    np.testing.assert_array_equal(np.concatenate(list(decoded.blocks())), read_audio(path, sample_rate=16_000))
    assert decoded.facts is not None


def test_stretches_and_channels(pool: AudioPool, tmp_path: Path) -> None:
    path = tmp_path / "both.wav"
    soundfile.write(path, np.stack([some_speech(1), some_speech(2)], axis=1), 16_000)
    requests = [Stretch(str(path), 0.25, 0.5, channel) for channel in (None, 0, 1, 2)]
    mix, left, right, none = pool.read(requests)
    np.testing.assert_array_equal(
        right.samples, read_audio(path, sample_rate=16_000, offset=0.25, duration=0.5, channel=1)
    )
    np.testing.assert_allclose(mix.samples, (left.samples + right.samples) / 2, atol=1e-6)  # type: ignore[operator]
    assert none.error is not None
    assert none.error.kind == "channel"


def test_few_are_decoded_ahead(pool: AudioPool, recordings: list[Path]) -> None:
    asked = 0

    def requests():
        nonlocal asked
        while True:
            asked += 1
            yield Stretch(str(recordings[0]))

    answers = pool.read(requests(), num_ahead=3)
    for _ in range(5):
        next(answers)
    assert asked == 8
    answers.close()


def test_long_recordings_that_wait_for_their_reader_do_not_hold_up_the_next(recordings: list[Path]) -> None:
    """All processes are taken: the recording that is asked for gets another one, which ends when they are free."""
    with AudioPool(sample_rate=16_000, num_processes=2, whole_seconds=0.1) as pool:
        for _ in range(3):
            found = list(pool.read([Stretch(str(path)) for path in recordings]))
            assert len(pool._processes) == 4
            for decoded, path in zip(found, recordings, strict=True):
                np.testing.assert_array_equal(
                    np.concatenate(list(decoded.blocks())), read_audio(path, sample_rate=16_000)
                )
            assert len(pool._processes) == len(pool._idle) == 2


def test_requests_begin_in_their_order_whichever_thread_wakes_first(
    recordings: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A thread that sleeps before its turn would find both processes taken by long recordings that come later."""
    begin = AudioPool._begin

    def late(self: AudioPool, ticket: int) -> _Process:
        if ticket == 1:
            time.sleep(1.0)
        return begin(self, ticket)

    monkeypatch.setattr(AudioPool, "_begin", late)
    with AudioPool(sample_rate=16_000, num_processes=2, whole_seconds=0.1) as pool:
        for decoded in pool.read(Stretch(str(path)) for path in recordings):
            assert sum(map(len, decoded.blocks()))
        assert len(pool._processes) == 2


def test_what_nobody_reads_any_more_gives_back_its_process_and_its_memory(recordings: list[Path]) -> None:
    with AudioPool(sample_rate=16_000, num_processes=2, whole_seconds=0.1) as pool:
        for _ in range(3):
            answers = pool.read([Stretch(str(path)) for path in recordings])
            assert sum(map(len, next(answers).blocks()))
            answers.close()
        (last,) = pool.read([Stretch(str(recordings[0]))])
        assert sum(map(len, last.blocks()))
        end = time.monotonic() + 20
        while len(pool._idle) < 2:  # the one that was given up comes back in its own time
            assert time.monotonic() < end, "a process was not given back"
            time.sleep(0.01)
        assert pool._waiting == 0


def test_a_pool_can_be_closed_with_a_long_recording_in_the_middle(recordings: list[Path]) -> None:
    pool = AudioPool(sample_rate=16_000, num_processes=1, whole_seconds=0.1)
    answers = pool.read([Stretch(str(path)) for path in recordings])
    first = next(answers)
    pool.close()
    assert first.rest is not None
    answers.close()


def test_memory_ahead_is_bounded(recordings: list[Path], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("asr.audio.pool.SAMPLES_AHEAD", 100)
    with AudioPool(sample_rate=16_000, num_processes=1) as pool:
        assert len(list(pool.read([Stretch(str(recordings[0]))] * 5))) == 5


def test_a_failing_decoder_costs_one_recording(
    recordings: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_Process, "COMMAND", CRASHING)
    names = ["a", "crash", "b", "crash-once", "exit", "c", "swell", "spin", "d", "hang", "e"]
    for name in names:
        shutil.copy(recordings[0], tmp_path / f"{name}.wav")
    # Twice as long as a machine under load may need to start a process.
    limits = AudioLimits(memory_mb=512, seconds_per_block=0.3, stall_seconds=15.0 if os.getloadavg()[0] > 4 else 3.0)
    with AudioPool(sample_rate=16_000, num_processes=1, limits=limits) as pool:
        found = list(pool.read(Stretch(str(tmp_path / f"{name}.wav")) for name in names))
    expected = {
        "crash": ("crash", r"crash\.wav: the decoder crashed on it \(SIGSEGV\); write the file again"),
        "exit": ("crash", r"the decoder crashed on it \(exit code 7\)"),
        "swell": ("memory", r"more memory needed than a recording may take; see memory_mb"),
        "spin": ("time", r"more than 0\.3 s of processor time for one block"),
        "hang": ("time", r"no answer for \d+ s; expected a file that can be read"),
    }
    for decoded in found:
        if Path(decoded.stretch.path).stem not in expected:
            assert decoded.error is None, Path(decoded.stretch.path).stem
            np.testing.assert_array_equal(decoded.samples, read_audio(recordings[0], sample_rate=16_000))
            continue
        kind, message = expected[Path(decoded.stretch.path).stem]
        with pytest.raises(AudioError, match=message) as caught:
            raise decoded.error or AssertionError(Path(decoded.stretch.path).stem)
        assert caught.value.kind == kind


def test_damage_after_the_beginning_of_a_long_recording_is_said_where_it_comes(
    recordings: list[Path], tmp_path: Path
) -> None:
    path = tmp_path / "damaged.flac"
    # Eight channels: a block of decoding is then 16 s.
    soundfile.write(path, np.tile(some_speech(0, 40.0, 8000)[:, None], 8), 8000)
    content = path.read_bytes()
    path.write_bytes(content[:-1000] + bytes(1000))
    with AudioPool(sample_rate=16_000, num_processes=1, whole_seconds=2.0) as pool:
        damaged, whole = pool.read([Stretch(str(path)), Stretch(str(recordings[0]))])
        blocks = damaged.blocks()
        assert len(next(blocks)) > 2 * 16_000
        with pytest.raises(AudioError, match=r"damaged\.flac: damaged \("):
            list(blocks)
        np.testing.assert_array_equal(
            np.concatenate(list(whole.blocks())), read_audio(recordings[0], sample_rate=16_000)
        )


def test_a_process_that_listens_no_more_has_died() -> None:
    process = _Process(AudioLimits())
    deaf = "import os, time; os.close(0); print(flush=True); time.sleep(60)"
    process._child = subprocess.Popen(
        [sys.executable, "-c", deaf], stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0
    )
    assert process._child.stdout is not None
    process._child.stdout.readline()
    with pytest.raises(_Died):
        process.ask(Stretch("a.wav"), sample_rate=16_000)
    process.stop()


def test_a_recording_that_is_longer_than_allowed_is_refused(recordings: list[Path]) -> None:
    """By its header, and by its samples where the header lies."""
    limits = AudioLimits(longest_hours=2.0 / 3600)
    with AudioPool(sample_rate=16_000, num_processes=1, limits=limits) as pool:
        short, long = pool.read([Stretch(str(recordings[0])), Stretch(str(recordings[1]))])
    assert short.error is None
    with pytest.raises(AudioError, match=r"01\.wav: 0\.0 hours; expected at most 0\.000\d+; cut it, or raise longest"):
        raise long.error or AssertionError


def test_a_file_that_grows_while_it_is_read_is_not_believed(tmp_path: Path) -> None:
    from asr.audio import worker as audio_worker

    path = tmp_path / "growing.wav"
    soundfile.write(path, some_speech(0), 16_000)

    class Answers(io.BytesIO):
        def write(self, content) -> int:
            os.utime(path, (1, self.tell()))
            return super().write(content)

    answers = Answers()

    request = {"path": str(path), "sample_rate": 16_000, "offset": 0.0, "duration": None, "channel": "mix"}
    audio_worker.answer({**request, "longest": 60.0}, answers, seconds_per_block=5.0)
    assert b"changed while it was read; expected a finished file" in answers.getvalue()


def test_a_pool_can_be_closed_at_work(recordings: list[Path]) -> None:
    pool = AudioPool(sample_rate=16_000, num_processes=1)
    answers = pool.read(Stretch(str(path)) for path in recordings * 50)
    next(answers)
    pool.close()
    answers.close()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become a user who may not read")
def test_an_unreadable_file_is_named(tmp_path_factory: pytest.TempPathFactory) -> None:
    import subprocess

    path = Path("/tmp") / f"earshot-secret-{os.getpid()}.wav"
    soundfile.write(path, some_speech(0), 16_000)
    path.chmod(0)
    # This user may perhaps not even start Python: the process becomes it once everything is imported.
    code = (
        "import os, soundfile, sys; from asr.audio.reading import read_audio; os.setuid(65534); "
        "read_audio(sys.argv[1], sample_rate=16_000)"
    )
    try:
        done = subprocess.run([sys.executable, "-c", code, str(path)], capture_output=True, text=True, check=False)
    finally:
        path.unlink()
    assert "cannot be read (Permission denied); expected a file that this user may read" in done.stderr
