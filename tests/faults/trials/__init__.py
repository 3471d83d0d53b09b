"""Many random faults of each kind, with the real commands; :mod:`tests.faults.__main__` counts them."""
