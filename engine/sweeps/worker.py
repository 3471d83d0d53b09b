"""A process of the local pool: works on one job after the other, as its standard input says, a line of JSON each.

In: a job, or which one to stop. Out, on what was the standard output: that it is ready, and what becomes of its jobs.
When the input ends, because the pool is closed or its process has died, a job under way stops where it can be gone on
with; if it had been asked to stop already, the process ends at once. Nothing is pickled, nothing listens.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
import traceback
from collections.abc import Callable, Mapping
from contextlib import suppress
from queue import SimpleQueue
from time import monotonic
from typing import Any

from engine.core import plugins
from engine.core.errors import ExplorerError
from engine.core.notices import heard_by
from engine.core.signals import INTERRUPTED, noted
from engine.sweeps.executor import JobStopped, function_of

TELL_EVERY = 0.25  # seconds between two words of a job about how far it is


class Worker:
    """The present job, and whether it is to stop. ``send`` writes a message to the pool."""

    def __init__(self, send: Callable[[dict[str, Any]], None]) -> None:
        self._send = send
        self._jobs: SimpleQueue[Mapping[str, Any] | None] = SimpleQueue()
        self._job = ""
        self._stopped: set[str] = set()
        self._ending = False
        self._last = 0.0

    def listen(self, lines: Any) -> None:
        """Take messages until there are no more."""
        for line in lines:
            message = json.loads(line)
            if "stop" in message:
                self._stopped.add(message["stop"])
            else:
                self._stopped.discard(message["job"])  # of an earlier time, when that had just ended by itself
                self._jobs.put(message)
        if self._job in self._stopped:
            os._exit(INTERRUPTED)
        self.end()

    def end(self) -> None:
        """No further jobs; the present one stops."""
        self._ending = True
        self._jobs.put(None)

    def work(self) -> None:
        """Work until :meth:`end`."""
        self._send({"ready": os.getpid()})
        while (message := self._jobs.get()) is not None:
            if not self._ending:
                self._send(self.carry_out(message))

    def _is_to_stop(self) -> bool:
        return self._ending or self._job in self._stopped

    def carry_out(self, message: Mapping[str, Any]) -> dict[str, Any]:
        """Work on a job; what there is to say of its end."""
        self._job, self._last = message["job"], 0.0
        self._send({"begun": self._job})
        found: dict[str, Any] = {"ended": self._job}
        begun = monotonic()
        try:
            with heard_by(self._say):
                plugins.load_all(message["plugins"])
                function = function_of(message["function"])
                begun = monotonic()  # what it imports is there
                found["result"] = function(tell=self._tell, stopped=self._is_to_stop, **message["arguments"])
            found["how"] = "done"
        except JobStopped:
            found["how"] = "stopped"
        except ExplorerError as error:
            found |= {"how": "failed", "reason": str(error)}
        except MemoryError:
            found |= {"how": "failed", "reason": "not enough memory"}
        except Exception as error:  # the other jobs go on
            traceback.print_exc()
            found |= {"how": "failed", "reason": f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"}
        finally:
            self._job = ""
        return found | {"seconds": monotonic() - begun}

    def _tell(self, share: float, text: str) -> None:
        if self._is_to_stop():
            raise JobStopped
        now = monotonic()
        if now - self._last >= TELL_EVERY or share >= 1:
            self._last = now
            self._send({"told": self._job, "share": share, "text": text})

    def _say(self, text: str) -> None:
        self._send({"notice": f"{self._job}: {text}"})


def main() -> int:
    """Work for whoever holds the other ends of standard input and output."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a terminal's Ctrl+C is for who has started this process
    channel = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # whatever else writes on standard output does not come between messages
    lock = threading.Lock()

    def send(message: dict[str, Any]) -> None:
        with lock, suppress(BrokenPipeError):
            channel.write(json.dumps(message) + "\n")
            channel.flush()

    worker = Worker(send)
    with noted(worker.end):
        threading.Thread(target=worker.listen, args=(sys.stdin.buffer,), daemon=True).start()
        worker.work()
    return 0


if __name__ == "__main__":
    sys.exit(main())
