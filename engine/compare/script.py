"""The text of the ``reproduce.py`` that lies beside a comparison's figures (:mod:`engine.compare.reproduce`)."""

RUNS, FIGURES = "runs", "comparison"  # folders: of the runs' recipes, and, in the new folder, of what is drawn again


def script() -> str:
    """The text of a comparison's ``reproduce.py``."""
    return _SCRIPT


_SCRIPT = '''\
"""Train the compared runs again from the recipes beside this file, compare the weights, and draw the comparison anew.

Needs the package "feature-purification-explorer" (versions and commit: see recipe.json).
Usage: python reproduce.py FOLDER [--device cpu|cuda|mps] [--data FOLDER]
The exit code is 0 if all weights are bit-identical, 1 if not (the largest difference is printed), 2 if a file is wrong.
"""

import sys

if not sys.flags.safe_path:  # what lies beside this file must not be taken for a module of the same name
    sys.path.append(sys.path.pop(0))

import argparse
from pathlib import Path

from engine.compare.reproduce import reproduce
from engine.core import streams
from engine.core.errors import ExplorerError

streams.prepare()
parser = argparse.ArgumentParser(description="Replay the compared runs and compare the weights.")
parser.add_argument("folder", type=Path, help="new folder for the runs and the figures")
parser.add_argument("--device", default=None, help="device to use in place of the recorded one")
parser.add_argument("--data", type=Path, default=None, help="folder of the images, where that is another one here")
arguments = parser.parse_args()
try:
    result = reproduce(
        Path(__file__).parent,
        arguments.folder,
        device=arguments.device,
        data=arguments.data,
        progress=lambda share, what: print(what),
    )
except ExplorerError as error:
    sys.stderr.write(f"error: {error}\\n")
    sys.exit(2)
print(result.text())
print(f"figures: {arguments.folder / 'comparison'}")
sys.exit(0 if result.equal else 1)
'''
