"""The world of the theory: x = M z + ξ, y = sign⟨w_star, z⟩ (SPEC.md section 1; paper, section 2)."""

from __future__ import annotations

import math

import torch

from engine.core.errors import ConfigError
from engine.data.dictionaries import coherence, draw_dictionary
from engine.data.sparse_coding import OVERCOMPLETE, SparseCodingWorld

MARGIN = 1e-3  # samples with |⟨w_star, z⟩| below it are drawn again
POOL = 4096  # noiseless samples drawn at a time: the rejection then costs one synchronisation in sixteen batches


class SparseCoding:
    """The world's fixed parts, on one device: ``dictionary`` M (d, D) and ``target`` w_star (D,).

    The columns of M have norm 1, and are orthonormal unless the dictionary is overcomplete. w_star is in {−1, +1}, or
    has these signs and sizes of mean square 1 (``world.target_spread``).

    How anything is written in the dictionary is declared here, once, for all probes: by the *matched filter* Mᵀ, that
    is ``w @ dictionary``. For a neuron it is C = W M, and C z is what the neuron makes of an input M z: how strongly it
    answers to each feature. Least squares, W pinv(M)ᵀ, says instead of which features one could build the neuron; that
    is not unique where D > d, and for D near d it amplifies without bound. With orthonormal columns both are the same.
    The price: a neuron that *is* the feature M_j answers to the features close to it, too. :meth:`limits` says by how
    much that lowers its purity.
    """

    def __init__(self, knobs: SparseCodingWorld, dictionary: torch.Tensor, target: torch.Tensor) -> None:
        self.knobs = knobs
        self.dictionary = dictionary
        self.target = target
        self._limits: tuple[float, float] | None = None
        self._large = knobs.p_large / knobs.features
        self._active = self._large + (1 - self._large) * knobs.k / knobs.features  # P(a coordinate is not 0)

    @classmethod
    def draw(cls, knobs: SparseCodingWorld, generator: torch.Generator, device: torch.device) -> SparseCoding:
        """Draw dictionary and target (on the CPU, so that a seed means the same on every device)."""
        dictionary = draw_dictionary(knobs, generator)
        target = torch.randint(0, 2, (knobs.features,), generator=generator).float() * 2 - 1
        if knobs.target_spread > 1:
            size = torch.exp(torch.rand(knobs.features, generator=generator) * math.log(knobs.target_spread))
            target *= size / size.square().mean().sqrt()
        return cls(knobs, dictionary.to(device), target.to(device))

    @property
    def orthonormal(self) -> bool:
        """Whether the columns of M are."""
        return self.knobs.dictionary != OVERCOMPLETE

    def limits(self) -> tuple[float, float]:
        """Coherence max |⟨M_i,M_j⟩| over i ≠ j, and mean purity of the features themselves, the rows of MᵀM.

        0 and 1 for orthonormal columns. Computed once.
        """
        if self._limits is None:
            self._limits = (0.0, 1.0) if self.orthonormal else coherence(self.dictionary)
        return self._limits

    @property
    def dense_direction(self) -> torch.Tensor:
        """The dense mixture as a unit vector of R^d: M w_star / ‖M w_star‖, (d,)."""
        direction: torch.Tensor = self.dictionary @ self.target
        return direction.div_(torch.linalg.vector_norm(direction))

    @property
    def dense_coefficients(self) -> torch.Tensor:
        """The dense mixture M w_star in the dictionary, (D,): w_star itself where the columns are orthonormal."""
        return self.target if self.orthonormal else (self.dictionary @ self.target) @ self.dictionary

    def codes(self, n: int, generator: torch.Generator) -> torch.Tensor:
        """At most ``n`` sparse codes z (≤ n, D): n are drawn, those without a clear label thrown away.

        Only the few non-zero coordinates are drawn: in the flattened (n·D) sequence of independent coordinates the
        gaps between them are geometric, so this has exactly the distribution of a draw per coordinate.
        """
        device, width = self.target.device, self.knobs.features
        place = self._places(n * width, generator)
        row = place // width
        column = place - row * width
        # One number u in [0, 1) decides size and sign; the lower half of each interval is the positive sign.
        u = torch.rand(len(place), generator=generator, device=device)
        large = self._large / self._active
        is_large = u < large
        positive = torch.where(is_large, u < large / 2, u < (1 + large) / 2)
        value = torch.where(is_large, 1.0, 1 / math.sqrt(self.knobs.k)) * torch.where(positive, 1.0, -1.0)
        score = torch.zeros(n, device=device).index_add_(0, row, value * self.target[column])
        keep = score.abs() > MARGIN
        new_row = keep.cumsum(0) - 1
        kept = keep[row].nonzero().squeeze(1)  # once for all: on a GPU each boolean index would wait for the device
        z = torch.zeros(int(new_row[-1]) + 1, width, device=device)
        z.view(-1).scatter_(0, (new_row[row] * width + column)[kept], value[kept])
        return z

    def _places(self, length: int, generator: torch.Generator) -> torch.Tensor:
        """Places (int64, ascending) of the successes in ``length`` independent trials of probability ``_active``."""
        q, device = min(self._active, 1 - 1e-7), self.target.device
        parts, last = [], -1
        while last < length:
            expected = (length - last) * q
            u = torch.rand(int(expected + 6 * math.sqrt(expected)) + 16, generator=generator, device=device)
            gap = (u.neg_().log1p_() / math.log1p(-q)).floor_().long() + 1
            parts.append(gap.cumsum(0) + last)
            last = int(parts[-1][-1])
        place = torch.cat(parts)
        return place[: int(torch.searchsorted(place, length))]

    def noiseless(self, n: int, generator: torch.Generator) -> tuple[torch.Tensor, torch.Tensor]:
        """Exactly ``n`` samples without ξ: signals M z (n, d) and labels y (n,) in {−1, +1}."""
        parts: list[torch.Tensor] = []
        have, tried = 0, 0
        while have < n:
            part = self.codes(max(64, int((n - have) * 1.25)), generator)
            parts.append(part)
            have, tried = have + len(part), tried + 1
            if tried > 1000:
                raise ConfigError(
                    f"world.k = {self.knobs.k:g}, world.p_large = {self.knobs.p_large:g}: almost no sample "
                    "has a label; "
                    "allowed: values for which ⟨w_star, z⟩ is not always 0"
                )
        z = torch.cat(parts)[:n] if len(parts) > 1 else parts[0][:n]
        return z @ self.dictionary.T, torch.sign(z @ self.target)

    def sample(
        self, n: int, generator: torch.Generator, sigma_x: float | None = None
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """``n`` fresh samples with noise: x (n, d) and y (n,)."""
        x, y = self.noiseless(n, generator)
        sigma = self.knobs.sigma_x if sigma_x is None else sigma_x
        noise = torch.randn(x.shape, generator=generator, device=x.device)
        return x.add_(noise, alpha=sigma / math.sqrt(self.knobs.d)), y


class Stream:
    """Fresh training batches, forever, with a state that can be saved.

    Noiseless samples are drawn ``POOL`` at a time from ``pool_generator``; the input noise of each batch comes from
    ``noise_generator``. The state of the first at the current pool's start, and the position in the pool, are enough
    to come back to the same place.
    """

    def __init__(self, world: SparseCoding, pool_generator: torch.Generator, noise_generator: torch.Generator) -> None:
        self.world = world
        self._pool_generator = pool_generator
        self._noise_generator = noise_generator
        self._signal = world.dictionary.new_empty(0, world.knobs.d)
        self._label = self._signal.new_empty(0)
        self.position = 0
        self.pool_state = pool_generator.get_state()

    def seek(self, position: int) -> None:
        """Come back to ``position`` of the pool that starts at the generator's present state."""
        self.pool_state = self._pool_generator.get_state()
        if position:
            self._draw()
        self.position = position

    def _draw(self) -> None:
        self.pool_state = self._pool_generator.get_state()
        self._signal, self._label = self.world.noiseless(POOL, self._pool_generator)
        self.position = 0

    def fill(self, x: torch.Tensor, y: torch.Tensor, sigma_x: float) -> None:
        """Overwrite x (n, d) and y (n,) with the next batch."""
        x.normal_(0, 1, generator=self._noise_generator)
        x.mul_(sigma_x / math.sqrt(x.shape[1]))
        done, n = 0, len(y)
        while done < n:
            if self.position >= len(self._label):
                self._draw()
            take = min(n - done, len(self._label) - self.position)
            rows = slice(self.position, self.position + take)
            x[done : done + take].add_(self._signal[rows])
            y[done : done + take].copy_(self._label[rows])
            self.position += take
            done += take
