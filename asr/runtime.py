"""What every program shares at its top: exit codes and one line for a user's mistake."""

import os
import sys
from collections.abc import Callable

EXIT_OK = 0
EXIT_BAD_FILES = 1
EXIT_USAGE = 2
EXIT_INTERRUPTED = 130

# oneDNN keeps 1,024 compiled primitives for shapes to come again, and so does PyTorch's layer above it. Each lies
# between blocks of the heap, which can then not grow together any more, and memory grows for as long as new shapes
# come. The batches' lengths in steps (asr/data.py) and products in pieces (asr/cells/products.py) make them come again
# sooner. Both read this when torch first computes.
NUM_KEPT_PRIMITIVES = 256
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
