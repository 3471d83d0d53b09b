"""The live views, one a file; each renders snapshots and never changes the session."""
