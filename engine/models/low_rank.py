"""Low-rank change of the weights, W = W₀ + U V with U (m, r) and V (r, d) (SPEC.md section 7; paper v4).

The loss is the full one, weight decay of W included, so with G = ∂loss/∂W (m, d) its gradients are G Vᵀ and Uᵀ G. G is
the product of gates (n, m) and pulls (n, d), and is never formed. With the rows of V kept orthonormal,

    U ← U − lr · G Vᵀ,    V ← V − lr · (UᵀU + ε)⁻¹ (Uᵀ G)(I − VᵀV):

W follows the part of G that rank r can follow (the gradient on the manifold of such matrices), so ``lr`` means what it
means in the full step, whatever the rank and the size of U (Tong, Ma and Chi 2021, arXiv 2005.08898), and with r = d
the step *is* the full step. With plain gradients V turns at a speed that grows with ‖U‖², and needs its own rate.
"""

from __future__ import annotations

import torch
from torch import Tensor

from engine.core.generators import seeded
from engine.models.symmetric_relu import NoisyRelu, Partner, Pulls

DAMPING = 1e-2  # added to UᵀU, in units of W₀'s mean squared singular value: U begins at 0


class Factors:
    """The change U V of the weights ``base`` W₀ (m, d): ``U`` (m, r), ``V`` (r, d) with orthonormal rows."""

    def __init__(self, base: Tensor, U: Tensor, V: Tensor) -> None:
        self.base = base
        self.U = U
        self.V = V
        size = DAMPING * float(base.square().sum()) / min(base.shape)
        self._damping = size * torch.eye(len(V), device=base.device)

    @classmethod
    def begin(cls, base: Tensor, rank: int, seed: int, step: int) -> Factors | None:
        """No change yet, U = 0, and random orthonormal rows V that depend on seed and ``step`` alone.

        None, which means the full step, for rank 0 and for min(m, d) and more, which is no restriction.
        """
        m, d = base.shape
        if not 0 < rank < min(m, d):
            return None
        drawn = torch.randn(d, rank, generator=seeded(seed, f"low rank {step}"), dtype=torch.float64)
        rows = torch.linalg.qr(drawn).Q.T  # on the CPU: a seed means the same on every device
        return cls(base.clone(), base.new_zeros(m, rank), base.new_empty(rank, d).copy_(rows))

    @property
    def rank(self) -> int:
        """r."""
        return len(self.V)

    def sgd_step(
        self, noisy: NoisyRelu, x: Tensor, y: Tensor, lr: float, decay: float, partner: Partner | None = None
    ) -> Pulls:
        """:meth:`NoisyRelu.sgd_step` within the rank: changes U and V, and the network's weights with them."""
        weight, U, V = noisy.model.weight, self.U, self.V
        found = noisy.pulls(x, y, lr, partner)
        gates, x = found.gates, found.x
        up = gates.T @ (x @ V.T)  # −lr · G Vᵀ (m, r)
        down = (gates @ U).T @ x  # −lr · Uᵀ G (r, d)
        if decay > 0:
            shrink = torch.linalg.vector_norm(weight, dim=1, keepdim=True).add_(1).mul_(-lr * decay)
            up.add_(shrink * (weight @ V.T))
            down.add_((shrink * U).T @ weight)
        self.follow(up, down, out=weight)
        return found

    def follow(self, up: Tensor, down: Tensor, out: Tensor | None = None) -> Tensor:
        """Change U and V by ``up`` = −lr · G Vᵀ (m, r) and ``down`` = −lr · Uᵀ G (r, d), which is overwritten.

        Returns the new weights (m, d), in ``out`` if given.
        """
        U, V = self.U, self.V
        down.sub_((down @ V.T) @ V)
        # Neither factorisation checks its input: where training has diverged, the loss says so.
        V = V + torch.linalg.solve_ex(U.T @ U + self._damping, down).result
        L = torch.linalg.cholesky_ex(V @ V.T).L  # rows orthonormal again, the product unchanged
        # Into the same memory, whose layout a resumed run has, too: another one would change the last bits.
        self.V.copy_(torch.linalg.solve_triangular(L, V, upper=False))
        self.U.copy_((U + up) @ L)
        return torch.addmm(self.base, self.U, self.V, out=out)
