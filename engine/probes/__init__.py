"""What is measured of a model, one probe a file; definitions in SPEC.md section 4."""
