"""Runs beside each other: what differs between them, their curves overlaid, their galleries on one contrast.

Importing this package imports neither matplotlib nor torch, and reading what runs have recorded needs neither. A
comparison is one file of :mod:`engine.compare.views`; it is found by itself.
"""
