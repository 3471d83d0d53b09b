"""The command line: the same sessions, evaluations and figures as in the window, without one.

Exit codes: 0 done, 1 the run or a file failed, 2 a wrong argument, knob or folder, 130 interrupted (resumable).
torch is imported by the commands that need it, so that ``--help`` and wrong arguments are answered at once.
"""

from __future__ import annotations

import sys

from cyclopts import CycloptsError

from engine.cli import (  # noqa: F401 - their commands enter themselves into the app
    animation,
    compare,
    import_,
    run,
    runs,
    studies,
    sweep,
    weights,
)
from engine.cli.app import INTERRUPTED, app
from engine.cli.options import plugins_in
from engine.core import plugins
from engine.core.errors import ConfigError, DeviceError, ExplorerError, StoreError, WriteError
from engine.core.notices import heard_by
from engine.core.quoting import LONGEST, escaped, plain


def run_command_line(arguments: list[str]) -> int:
    """Run one command; errors for the user take one line on stderr."""
    try:
        named, arguments = plugins_in(arguments)
        plugins.load_all(named)  # first: they decide which commands, knobs and values there are
        studies.offer_studies()
        with heard_by(lambda text: sys.stderr.write(f"warning: {text}\n")):
            code = app(arguments, exit_on_error=False, print_error=False)
        return code if isinstance(code, int) else 0
    except CycloptsError as error:
        return _fail(_shortened(str(error), arguments), 2)
    except (ConfigError, DeviceError) as error:
        return _fail(str(error), 2)
    except WriteError as error:
        return _fail(str(error), 1)
    except StoreError as error:
        return _fail(str(error), 2)
    except ExplorerError as error:
        return _fail(str(error), 1)
    except KeyboardInterrupt:
        return _fail("interrupted", INTERRUPTED)
    except Exception as error:
        if (fault := plugins.fault(error)) is None:
            raise
        return _fail(str(fault), 1)


def _shortened(message: str, arguments: list[str]) -> str:
    """``message`` in one line, each long argument that it quotes cut."""
    for argument in arguments:
        if len(argument) > LONGEST:
            message = message.replace(argument, plain(argument))
    return " ".join(message.split())


def _fail(message: str, code: int) -> int:
    sys.stderr.write(f"error: {escaped(message)}\n")
    return code
