"""The command line: ``thalweg demo | diagnose | race | cases``."""

import sys
from collections.abc import Sequence

__all__ = ["main"]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the program and return its exit status; mistakes are said in one sentence on stderr.

    Args:
        arguments: what stands after the program's name; those of the process by default.
    """
    try:
        from thalweg.cli.outcome import run  # inside, so that Ctrl-C finds it from the first moment

        return run(sys.argv[1:] if arguments is None else list(arguments))
    except KeyboardInterrupt:
        sys.stderr.write("thalweg: interrupted: nothing was kept, and nothing changed\n")
        return 130
