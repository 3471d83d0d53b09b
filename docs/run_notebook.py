"""Run the Python blocks of a page one after the other, as a notebook does, and write it with what they print and draw.

Usage: python run_notebook.py PAGE.md OUT.md; the pictures lie beside OUT.md. The blocks run in the present folder. A
block shows what it prints, its matplotlib figures, and the figure that its last line gives.
"""

from __future__ import annotations

import ast
import io
import re
import sys
from collections.abc import Iterator
from contextlib import redirect_stdout
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.figure import Figure

BLOCK = re.compile(r"```python\n(.*?)```\n", re.DOTALL)


def run(text: str, pictures: Path) -> str:
    """The page ``text`` with what its blocks show; their pictures are written into the folder ``pictures``."""
    import matplotlib as mpl

    mpl.use("Agg")
    names: dict[str, Any] = {}
    numbers = iter(range(1, 1000))

    def shown(block: re.Match[str]) -> str:
        printed, figures = _run(block[1], names)
        parts = [block[0]]
        if printed:
            parts.append(f"```text\n{printed.rstrip()}\n```\n")
        for figure in figures:
            name = f"notebook-{next(numbers)}.png"
            figure.savefig(pictures / name, dpi=110)
            parts.append(f"![What this draws]({pictures.name}/{name})\n")
        return "\n".join(parts)

    return BLOCK.sub(shown, text)


def _run(block: str, names: dict[str, Any]) -> tuple[str, list[Figure]]:
    """What a block prints and draws; ``names`` are those of the blocks before it, and of it."""
    from matplotlib.figure import Figure

    *body, last = ast.parse(block).body
    value = None
    with redirect_stdout(io.StringIO()) as printed:
        if isinstance(last, ast.Expr):
            exec(compile(ast.Module(body, []), "block", "exec"), names)
            value = eval(compile(ast.Expression(last.value), "block", "eval"), names)
        else:
            exec(compile(block, "block", "exec"), names)
    return printed.getvalue(), [*_open_figures(), *([value] if isinstance(value, Figure) else [])]


def _open_figures() -> Iterator[Figure]:
    from matplotlib import pyplot

    found = [pyplot.figure(number) for number in pyplot.get_fignums()]
    pyplot.close("all")
    yield from found


if __name__ == "__main__":
    page, out = (Path(each) for each in sys.argv[1:])
    out.write_text(run(page.read_text(encoding="utf-8"), out.parent), encoding="utf-8")
