"""Faults on purpose: what the program does when what is around it goes wrong."""
