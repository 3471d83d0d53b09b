"""The desktop explorer: a Qt front end over the engine's training thread."""

import os
import sys

# As in engine/__init__.py, which cannot be asked: it would be looked for in the current folder.
if sys.argv[:1] == ["-m"] and not sys.flags.safe_path:
    _first, _own = sys.path[0], os.path.dirname(os.path.dirname(os.path.abspath(__file__)))  # noqa: PTH100, PTH120
    if _first != _own and _first in ("", os.getcwd()):  # noqa: PTH109
        del sys.path[0]
