"""Runs beside each other: what the Compare panel is made of."""
