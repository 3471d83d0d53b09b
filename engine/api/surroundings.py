"""What holds while the engine works for a caller's thread."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager

from engine.core.notices import heard_by


@contextmanager
def as_it_was() -> Iterator[None]:
    """Inside, the engine may set torch up as it needs it; after it the thread's settings are again the caller's.

    What was passed over (a damaged checkpoint) is said as a ``UserWarning``.
    """
    import torch

    grad, threads = torch.is_grad_enabled(), torch.get_num_threads()
    fast = torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32
    try:
        with heard_by(lambda text: warnings.warn(text, stacklevel=2)):
            yield
    finally:
        torch.set_grad_enabled(grad)
        torch.set_num_threads(threads)
        torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32 = fast
