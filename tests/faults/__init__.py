"""Every kind of fault: what is written, read, pressed and shown when something breaks."""
