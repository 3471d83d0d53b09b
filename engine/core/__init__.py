"""What everything rests on: errors, names, measurements, results. Imports nothing of the engine."""
