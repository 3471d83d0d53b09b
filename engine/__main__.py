"""``python -m engine``: the explorer without a window."""

import sys

from engine.core import streams


def main() -> int:
    """Run the command line; returns the exit code."""
    from engine.core.signals import quiet_imports

    quiet_imports()
    streams.prepare()
    from engine.cli.main import run_command_line

    return streams.finish(run_command_line(sys.argv[1:]))


if __name__ == "__main__":
    sys.exit(main())
