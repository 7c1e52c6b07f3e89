"""Signals: a stack of their own for those that are handled, and threads and processes that leave them alone.

oneDNN's small matrix products in float32 (`gemm:jit:f32`) compute with their stack pointer inside the heap. Linux
writes the frame of a signal that is handled to where the stack pointer points, that is over whatever lies there in the
heap, unless the thread has an alternate stack and the handler asks for it; Python's handlers do (SA_ONSTACK).
"""

import contextlib
import ctypes
import signal
import sys
from collections.abc import Iterator

# A frame takes up to 12 KB (AMX), and handlers of different signals can interrupt each other.
SIGNAL_STACK_BYTES = 256 << 10
TO_STOP = (signal.SIGINT, signal.SIGTERM)
HAS_MASKS = hasattr(signal, "pthread_sigmask")  # not on Windows


class _Stack(ctypes.Structure):
    """The structure stack_t of signal.h, whose order differs between Linux and the BSDs."""

    _fields_ = (
        [("address", ctypes.c_void_p), ("flags", ctypes.c_int), ("size", ctypes.c_size_t)]
        if sys.platform.startswith("linux")
        else [("address", ctypes.c_void_p), ("size", ctypes.c_size_t), ("flags", ctypes.c_int)]
    )


def use_signal_stack() -> None:
    """Let this thread handle signals on a stack of their own; processes that it forks do so too.

    A stack that is there already and large enough stays; the new one is never freed, since a signal can come until
    the very end. On Windows there is nothing to do.
    """
    if sys.platform == "win32":
        return
    libc = ctypes.CDLL(None)
    libc.malloc.restype, libc.malloc.argtypes = ctypes.c_void_p, [ctypes.c_size_t]
    if signal_stack_size() < SIGNAL_STACK_BYTES and (memory := libc.malloc(SIGNAL_STACK_BYTES)):
        libc.sigaltstack(ctypes.byref(_Stack(address=memory, size=SIGNAL_STACK_BYTES, flags=0)), None)


def signal_stack_size() -> int:
    """Returns the bytes of this thread's alternate signal stack, 0 where it has none."""
    found, is_disabled = _Stack(), 2 if sys.platform.startswith("linux") else 4
    ctypes.CDLL(None).sigaltstack(None, ctypes.byref(found))
    return 0 if found.flags & is_disabled else found.size


@contextlib.contextmanager
def signals_blocked() -> Iterator[None]:
    """Hold back the signals that programs handle; threads and processes started in the block do so for ever."""
    if not HAS_MASKS:
        yield
        return
    handled = {signal.SIGINT, signal.SIGTERM, signal.SIGCHLD, signal.SIGALRM, signal.SIGHUP, signal.SIGUSR1}
    before = signal.pthread_sigmask(signal.SIG_BLOCK, handled | {signal.SIGUSR2, signal.SIGPROF, signal.SIGVTALRM})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def ignore_signals_to_stop() -> None:
    """Ignores signals to stop, as a process does at its start whose end is another's to decide; called while they are
    blocked, it misses none.

    Slurm, systemd, `timeout` and a terminal send the signal to stop to every process of a job.
    """
    for number in TO_STOP:
        signal.signal(number, signal.SIG_IGN)
    if HAS_MASKS:
        signal.pthread_sigmask(signal.SIG_SETMASK, ())


@contextlib.contextmanager
def stopping_on_sigterm() -> Iterator[None]:
    """SIGTERM ends this program like Ctrl-C, so that the training it waits for saves and stops too."""

    def stop(number: int, frame: object) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
