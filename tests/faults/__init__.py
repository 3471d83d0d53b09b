"""Every kind of fault that was met, tried on the real program."""
