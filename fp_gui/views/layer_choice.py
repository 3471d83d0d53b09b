"""The choice of a layer, which is kept while nobody knows yet which layers the network has."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from PySide6.QtCore import QSignalBlocker

from engine.core.results import LayerInfo
from fp_gui.views.widgets import Choice


class LayerChoice(Choice):
    """A drop-down of ``first``, value → words, and of the network's layers by name.

    With ``one_is_first`` the first layer takes the place and the value of ``first``, which is then one entry; else all
    layers come behind it. ``words`` says a layer, given its place from 0.
    """

    def __init__(
        self, first: Mapping[str, str], tip: str, words: Callable[[int, LayerInfo], str], *, one_is_first: bool = False
    ) -> None:
        self.layers: tuple[LayerInfo, ...] = ()
        self._waiting = ""  # a value to be taken when the layers are known, if one of them has it
        self._first, self._words, self._one_is_first = dict(first), words, one_is_first
        super().__init__(first, next(iter(first)), tip)

    @property
    def value(self) -> str:
        """One of ``first``'s values or a layer's name."""
        return self._waiting or str(self.currentData())

    @value.setter
    def value(self, value: str) -> None:
        index = self.findData(value)
        self._waiting = value if index < 0 and not self.layers else ""
        if index >= 0:
            self.setCurrentIndex(index)

    @property
    def chosen(self) -> LayerInfo | None:
        """The chosen layer; None while the layers are unknown or where an entry of ``first`` is no layer."""
        place = self.currentIndex() - (0 if self._one_is_first else len(self._first))
        return self.layers[place] if 0 <= place < len(self.layers) else None

    def show_layers(self, layers: tuple[LayerInfo, ...]) -> bool:
        """Offer these layers; a choice that is none of them falls back to the first. Whether they are others."""
        if layers == self.layers:
            return False
        value = self.value
        self.layers, self._waiting = layers, ""
        entries = [(words, key) for key, words in self._first.items()]
        named = [(self._words(place, each), each.name) for place, each in enumerate(layers)]
        if self._one_is_first and layers:
            entries = [(named.pop(0)[0], entries[0][1])]
        with QSignalBlocker(self):
            self.clear()
            for words, key in entries + named:
                self.addItem(words, key)
            self.setCurrentIndex(max(0, self.findData(value)))
        return True

    def forget(self) -> None:
        """Another run, whose layers are not known yet: the choice waits for them."""
        self._waiting, self.layers = self.value, ()
