"""What a training step trains on, one objective a file: the batch as it is, with noise, or perturbed by an attack.

Each enters itself into :data:`engine.config.objectives.objectives`, and imports torch only when a batch is made.
"""
