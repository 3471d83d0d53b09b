"""The window's tools by name, made when they are first seen."""

from __future__ import annotations

from fp_gui.shell import Shell
from fp_gui.theme import Theme
from fp_gui.tools.base import Tool, tools


class ToolShelf:
    """Holds the tools of ``window``."""

    def __init__(self, window: Shell, theme: Theme) -> None:
        self._window = window
        self._theme = theme
        self.types = {name: tools[name] for name in tools}
        self._made: dict[str, Tool] = {}

    def get(self, name: str) -> Tool:
        """The tool called ``name``, made now if it is not there, in its panel."""
        if name not in self._made:
            self._made[name] = tool = self.types[name](self._window)
            tool.set_theme(self._theme)
            self._window.shelf.tame(tool)
            self._window.panels.fill(name, tool)
            self._window.tool_made.emit(tool)
        return self._made[name]

    def set_theme(self, theme: Theme) -> None:
        """Recolour every tool, those to come included."""
        self._theme = theme
        for tool in self._made.values():
            tool.set_theme(theme)

    def close(self) -> None:
        """The window closes."""
        for tool in self._made.values():
            tool.close_down()
