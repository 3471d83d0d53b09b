"""Processes that need not import torch and Qt again: each is forked from one that has, and has done nothing else.

For tests of what a process does, not of how it starts.
"""

from __future__ import annotations

import multiprocessing

CONTEXT = multiprocessing.get_context("forkserver")
CONTEXT.set_forkserver_preload(
    # torch before PySide6, as the program does
    ["engine.worlds", "engine.run.session", "engine.cli.run", "tests.tiny_runs", "fp_gui.main_window"]
)
