"""What every program shares at its top: exit codes and one line for a user's mistake."""

import os
import sys
from collections.abc import Callable

EXIT_OK = 0
EXIT_BAD_FILES = 1
EXIT_USAGE = 2
EXIT_INTERRUPTED = 130

# oneDNN keeps 1,024 compiled primitives for shapes to come again, and so does PyTorch's layer above it. But for the
# pieces of asr/cells/products.py, the shapes of batches hardly ever do; what each step compiles lies between blocks of
# the heap, which can then not grow together any more: memory grows without end. Both read this when torch first
# computes.
NUM_KEPT_PRIMITIVES = 128
KEPT_PRIMITIVES = ("ONEDNN_PRIMITIVE_CACHE_CAPACITY", "LRU_CACHE_CAPACITY")


def run_program(main: Callable[[list[str] | None], int]) -> None:
    """Run a program's `main` and exit with its code; what a user can cause is one line, not a traceback."""
    for name in KEPT_PRIMITIVES:
        os.environ.setdefault(name, str(NUM_KEPT_PRIMITIVES))
    try:
        code = main(None)
    except (ValueError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        code = EXIT_USAGE
    except KeyboardInterrupt:
        code = EXIT_INTERRUPTED
    sys.exit(code)
