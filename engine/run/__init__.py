"""A run's life: the session that trains it, its folder, its snapshots and commands, its recipe."""
