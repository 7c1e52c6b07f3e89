"""Every program shares this at its top: exit codes, one line for a user's mistake, a look at what is installed."""

import argparse
import atexit
import contextlib
import os
import select
import sys
from collections.abc import Callable, Iterator, Sequence
from typing import Any, TextIO

from asr.process.signals import use_signal_stack

EXIT_OK = 0
EXIT_FAULTS = 1  # what was to be checked has faults
EXIT_USAGE = 2
EXIT_BAD_FILES = 4  # all is done but for what is named at the end
EXIT_INTERRUPTED = 130
EXIT_UNREAD = 141  # what a shell shows of a program that SIGPIPE ends
STOPPED_BY_SIGNAL = 128  # plus its number

# oneDNN keeps 1,024 compiled primitives for shapes to come again, and so does PyTorch's layer above it. Each lies
# between blocks of the heap, which can then not grow together any more, and memory grows for as long as new shapes
# come. The batches' lengths in steps (asr/data/batches.py) and products in pieces (asr/model/scan/products.py) make
# them come again sooner. Both read this when torch first computes.
NUM_KEPT_PRIMITIVES = 256
KEPT_PRIMITIVES = ("ONEDNN_PRIMITIVE_CACHE_CAPACITY", "LRU_CACHE_CAPACITY")


# torchaudio is compiled against one torch: beside another it does not load, which would end a job halfway.
TORCH_PAIR = ("torch", "torchaudio")


class DoneAtOnce(int):
    """An exit code of a program that someone waits for, which leaves nothing behind to be taken down with care."""


class InstallationError(ValueError):
    """Packages that do not work together."""


def check_installation() -> None:
    """Raise InstallationError where torch and torchaudio are not of one release; neither is imported for it."""
    from importlib.metadata import PackageNotFoundError, requires, version

    found: dict[str, str] = {}
    for name in TORCH_PAIR:
        try:
            found[name] = version(name).partition("+")[0]  # 2.11.0+cpu is the same release
        except PackageNotFoundError:
            found[name] = "none"
    if len(set(found.values())) == 1 and "none" not in found.values():
        return
    try:
        pinned = [each for each in requires("earshot") or () if each.startswith(TORCH_PAIR) and ";" not in each]
    except PackageNotFoundError:  # run from its source
        pinned = list(TORCH_PAIR)
    raise InstallationError(
        f"installed: {', '.join(f'{name} {release}' for name, release in found.items())}; expected both, of the same "
        f"release, for another does not load: pip install {' '.join(pinned)}"
    )


def program_name(module: str) -> str:
    """Returns what a program's usage lines call it: `earshot train` if that runs it, else `python -m asr.train`."""
    return sys.argv[0] if sys.argv[0].startswith("earshot ") else f"python -m {module}"


class Parser(argparse.ArgumentParser):
    """A parser that takes options between positional arguments, `RUN --option PATH`, in a family's programs too."""

    _is_mixing = False

    def parse_known_args(  # type: ignore[override]
        self, args: Sequence[str] | None = None, namespace: Any = None
    ) -> tuple[argparse.Namespace, list[str]]:
        has_programs = any(action.nargs in (argparse.PARSER, argparse.REMAINDER) for action in self._actions)
        if self._is_mixing or has_programs:
            return super().parse_known_args(args, namespace)
        self._is_mixing = True
        try:
            return self.parse_known_intermixed_args(args, namespace)
        finally:
            self._is_mixing = False


@contextlib.contextmanager
def ending_with_its_reader() -> Iterator[None]:
    """End the program without a word where nobody reads any more what it prints, as behind `| head`."""
    try:
        try:
            yield
        finally:
            sys.stdout.flush()
    except BrokenPipeError:
        if not _is_unread(sys.stdout):
            raise
        # What is still held would be written, in vain and with a traceback, when Python ends.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(EXIT_UNREAD)


def _is_unread(stream: TextIO) -> bool:
    """Returns whether the other end of the pipe is closed; True too where the system cannot say."""
    if not hasattr(select, "poll"):
        return True
    poll = select.poll()
    poll.register(stream.fileno(), 0)
    return any(event & select.POLLERR for _, event in poll.poll(0))


def run_program(main: Callable[[list[str] | None], int]) -> None:
    """Run a program's `main` and exit with its code; what a user can cause is one line, not a traceback."""
    use_signal_stack()
    for name in KEPT_PRIMITIVES:
        os.environ.setdefault(name, str(NUM_KEPT_PRIMITIVES))
    try:
        check_installation()
        with ending_with_its_reader():
            code = main(None)
    except (ValueError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        code = EXIT_USAGE
    except KeyboardInterrupt:
        code = EXIT_INTERRUPTED
    else:
        if code > STOPPED_BY_SIGNAL or isinstance(code, DoneAtOnce):
            leave(code)
    sys.exit(code)


def leave(code: int) -> None:
    """End a program that was asked to stop, or is waited for, without taking down what the system takes down anyway.

    Python and the libraries take half a second for it, and several where a machine is busy, which whoever asked waits
    for (DECISIONS.md). What was registered to be done at the end is done.
    """
    atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError):  # closed, or nobody reads it any more
            stream.flush()
    os._exit(code)


def count_cores() -> int:
    """Processors that this process may use, where the system says that; else all of the machine."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
