"""What every program shares at its top: exit codes and one line for a user's mistake."""

import sys
from collections.abc import Callable

EXIT_OK = 0
EXIT_BAD_FILES = 1
EXIT_USAGE = 2
EXIT_INTERRUPTED = 130


def run_program(main: Callable[[list[str] | None], int]) -> None:
    """Run a program's `main` and exit with its code; what a user can cause is one line, not a traceback."""
    try:
        code = main(None)
    except (ValueError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        code = EXIT_USAGE
    except KeyboardInterrupt:
        code = EXIT_INTERRUPTED
    sys.exit(code)
