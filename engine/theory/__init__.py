"""The world of the theory: sparse-coding data and the symmetric ReLU network."""
