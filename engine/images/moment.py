"""What can be looked at of a network on images: its states now, at the start and after clean training, and its data."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping

from torch import Tensor, nn

from engine.core.results import FeatureRequest, Features
from engine.data.images import HeldOutImages, Images
from engine.images.config import ImageConfig
from engine.models.base import DataFacts
from engine.models.classifier import ImageClassifier
from engine.models.layers import layers
from engine.probes.features import check
from engine.probes.layers import Matrices
from engine.run.moment import Moment

NetworkState = dict[str, Tensor]  # a network's parameters and buffers by name
NOTHING_ASKED = FeatureRequest("", ())


class ImageMoment(Moment):
    """``network``, whose state was ``init`` at the start and, when clean training ended, ``clean``.

    Each of the two is None if there is none yet, or nobody knows it.

    What live probes read (:mod:`engine.images.live`), besides ``config``, ``steps_done`` and ``phase``: those states,
    and :meth:`classifier_of` one; :attr:`classifier`, the network now; :attr:`start_matrices` and
    :attr:`clean_matrices`; ``clean_step``, the step at which clean training ended; ``images``, the data, and the
    ``held_out`` ones; ``feature_request``; :meth:`frozen_once`; ``memory``, where a probe keeps what it need not
    measure again, under a key that holds all that decides it.
    """

    config: ImageConfig
    images: Images
    facts: DataFacts
    held_out: HeldOutImages
    network: nn.Module
    init: NetworkState | None
    clean: NetworkState | None = None
    redrawn = False  # whether a layer has been drawn again
    feature_request = NOTHING_ASKED
    _start_matrices: Matrices | None = None
    _clean_matrices: Matrices | None = None

    @property
    def data_words(self) -> str:
        """Classes and counts of the images."""
        return self.images.words()

    @property
    @abstractmethod
    def classifier(self) -> ImageClassifier:
        """The network now, as attacks and probes see it."""

    def classifier_of(self, state: Mapping[str, Tensor]) -> ImageClassifier:
        """The network in another state, with tensors of its own."""
        other: ImageClassifier = self.classifier.copy()
        other.module.load_state_dict(state)
        return other

    def visualise(self, request: FeatureRequest) -> None:
        """Measure these pictures from now on. Raises :class:`ConfigError` for units or images that are not there."""
        if request.units:
            check(self.network, request, len(self.held_out))
        self.feature_request = request
        self._scheduler.drop(Features)

    @property
    def start_matrices(self) -> Matrices | None:
        """The start's weights by layer, one row a unit; None if nobody knows them."""
        if self._start_matrices is None and self.init is not None:
            self._start_matrices = self._matrices(self.init)
        return self._start_matrices

    @property
    def clean_matrices(self) -> Matrices | None:
        """Those at the end of clean training."""
        if self._clean_matrices is None and self.clean is not None:
            self._clean_matrices = self._matrices(self.clean)
        return self._clean_matrices

    def _matrices(self, state: NetworkState) -> Matrices:
        return {each.name: state[f"{each.name}.weight"].flatten(1) for each in layers(self.network)}
