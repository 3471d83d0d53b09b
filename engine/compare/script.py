"""The text of the ``reproduce.py`` that lies beside a comparison's figures (:mod:`engine.compare.reproduce`)."""

from __future__ import annotations

from engine.run.recipe import script_that

RUNS, FIGURES = "runs", "comparison"  # folders: of the runs' recipes, and, in the new folder, of what is drawn again


def script() -> str:
    """The text of a comparison's ``reproduce.py``."""
    return script_that(
        "Train the compared runs again from the recipes beside this file, compare the weights, draw the figures anew.",
        "engine.compare.reproduce:reproduce",
        "Path(__file__).parent",
        f"print(f\"figures: {{arguments.folder / '{FIGURES}'}}\")",
    )
