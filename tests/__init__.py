"""Tests and benchmarks. The engine comes first: it tells torch, before that is loaded, how its threads wait."""

import engine  # noqa: F401
