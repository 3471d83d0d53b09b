"""A change that an exception cut short leaves a state that no run ever was in: it must be known, and never saved."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from engine.core.errors import ExplorerError


class Wholeness:
    """Whether what stands now is whole: ``torn`` once an exception came in the middle of a change."""

    def __init__(self) -> None:
        self.torn = False

    @contextmanager
    def change(self, harmless: type[Exception]) -> Iterator[None]:
        """What is done in here is done wholly: any exception but a ``harmless`` one leaves the state torn."""
        before, self.torn = self.torn, True
        try:
            yield
        except harmless:
            self.torn = before
            raise
        self.torn = before

    def check(self, steps: int) -> None:
        """Raise :class:`ExplorerError` if the state is torn: from here nothing can go on."""
        if self.torn:
            raise ExplorerError(
                f"the run was interrupted inside a step, after step {steps}; "
                "open its folder again to go on from its newest checkpoint"
            )
