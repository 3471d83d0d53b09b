"""The knobs of the world of the theory; its samples are drawn in :mod:`engine.data.sparse_stream`. Imports no torch."""

from __future__ import annotations

from typing import Literal

from engine.config.knobs import World, knob

OVERCOMPLETE = "overcomplete"
Dictionary = Literal["random", "dct", "haar", "identity", "overcomplete"]


class SparseCodingWorld(World):
    """The world of the theory: x = M z + ξ with sparse z, labels sign⟨w*, z⟩ (SPEC.md section 1)."""

    name: Literal["sparse_coding"] = knob("sparse_coding", "The world the data come from.")
    d: int = knob(64, "Input dimension d; a square (64, 144, 256) makes every weight a picture.", low=4, high=4096)
    dictionary: Dictionary = knob(
        "dct",
        "The dictionary M whose columns are the features: orthonormal, or overcomplete with world.atoms random columns "
        "of norm 1.",
    )
    atoms: int = knob(
        0, "Number D of features, the columns of M; 0: as many as d. More than d in an overcomplete dictionary only.",
        low=0, high=8192,
    )  # fmt: skip
    k: float = knob(3.0, "Sparsity k: a coordinate of z is ±1/√k with probability k/D.", low=0.5, high=64)
    p_large: float = knob(1.0, "A coordinate of z is ±1 with probability p_large/D.", low=0, high=64)
    target_spread: float = knob(
        1.0, "Largest over smallest |w*_j| of the target: log-uniform between them, of mean square 1; 1: all are 1.",
        low=1, high=100,
    )  # fmt: skip
    sigma_x: float = knob(
        0.1, "Input noise: ξ ~ N(0, sigma_x²/d · I), so ‖ξ‖ ≈ sigma_x.", low=0, high=2, unit="ℓ2 norm", live=True
    )

    @property
    def features(self) -> int:
        """Number D of features."""
        return self.atoms or self.d
