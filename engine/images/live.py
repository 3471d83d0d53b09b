"""What the window shows of a network on images (:mod:`engine.run.live`)."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from engine.config.experiment import IMAGES
from engine.config.knobs import AttackKnobs
from engine.core.arrays import frozen
from engine.core.generators import seeded
from engine.core.measurement import Measurement
from engine.core.results import CleanExamples, Examples, Features, Filters, LayersPrinciple1, RadiusCurves
from engine.core.spectra import LayersSpectrum
from engine.data.images import BOX
from engine.images.moment import ImageMoment
from engine.models.classifier import ImageClassifier
from engine.models.layers import Layer, layers
from engine.probes import robustness
from engine.probes.features import visualise
from engine.probes.layers import Matrices, activity, chunk_of, matrices, principle1_of
from engine.probes.radius import POINTS, REACH, RESTARTS, STEPS, Cache, Values
from engine.probes.spectrum import layers_spectrum
from engine.run.live import ProbeTask, at_once, in_slices

EXAMPLES = 12  # test images that are shown with their perturbations
RADIUS_SIZE = 64  # test images of accuracy against radius


def picture_shape(first: Layer, image: tuple[int, int, int]) -> tuple[int, int, int, int]:
    """Shape (units, C, h, w) in which the first layer's weights are pictures; ``image`` is that of the data."""
    units, *rest = first.module.weight.shape
    c, h, w = rest if len(rest) == 3 else image
    return units, c, h, w


def examples(
    model: ImageClassifier, x: Tensor, y: Tensor, classes: Sequence[str], attack: AttackKnobs, steps: int, step: int,
    seed: int,
) -> Generator[None, None, Examples]:  # fmt: skip
    """PGD on the images x (k, C, H, W), right or wrong, at the radius of ``attack``."""
    protocol = Measurement("pgd", attack.norm, attack.tau, steps, 1, len(y), True)
    built = robustness.build(protocol, None, BOX)
    assert built is not None  # only ``clean`` has no attack
    delta = (yield from built.slices(model, x, y, seeded(seed, "examples", x.device))).clone()
    before, after = (torch.softmax(model.logits(each), 1) for each in (x, x + delta))
    return Examples(
        step, protocol, tuple(classes), frozen(x), frozen(delta), frozen(y), frozen(before), frozen(after)
    )  # fmt: skip


def layers_principle1(
    start: Matrices, clean: Matrices, model: ImageClassifier, x: Tensor, step: int
) -> Generator[None, None, LayersPrinciple1]:
    """Principle 1 of every layer, and the activity on the images x (n, C, H, W)."""
    found = principle1_of(start, clean, matrices(model))
    yield
    active = yield from activity(model, x, chunk_of(x.shape))
    return LayersPrinciple1(step, tuple(each.info for each in layers(model.module)), found, active, len(x))


def radius_curves(
    model: ImageClassifier, clean: ImageClassifier | None, clean_step: int, x: Tensor, y: Tensor, norm: str, tau: float,
    step: int, seed: int, cache: Cache,
) -> Generator[None, None, RadiusCurves]:  # fmt: skip
    """Accuracy under PGD against the radius, of ``model`` and once of ``clean``; there is no certificate."""
    radii = np.linspace(0.0, REACH * tau, POINTS)
    now = yield from _under_pgd(model, x, y, norm, radii, seed)
    before = None
    if clean is not None:
        key = ("radius, clean", clean_step, norm, tau)
        if key not in cache:
            cache[key] = yield from _under_pgd(clean, x, y, norm, radii, seed)
        before = cache[key]
    return RadiusCurves(step, norm, STEPS, RESTARTS, len(y), radii, now, None, before, None, None)


def _under_pgd(
    model: ImageClassifier, x: Tensor, y: Tensor, norm: str, radii: Values, seed: int
) -> Generator[None, None, Values]:
    found = []
    for radius in radii:
        protocol = Measurement("pgd", norm, float(radius), STEPS, RESTARTS, len(y), True)
        generator: Any = seeded(seed, f"radius {radius}", x.device)
        chunk = chunk_of(x.shape)
        measured = yield from robustness.accuracy(model, x, y, protocol, None, generator, box=BOX, chunk=chunk)
        found.append(measured.accuracy)
    return np.array(found)


# --- the live probes


@at_once(Filters, IMAGES)
def filters(session: ImageMoment) -> Filters:
    """The first layer's weights as pictures."""
    first = layers(session.network)[0]
    name, shape = f"{first.name}.weight", picture_shape(first, session.images.shape)
    before, clean = session.init, session.clean
    return Filters(
        layers=tuple(each.info for each in layers(session.network)),
        now=frozen(first.module.weight).reshape(shape),
        start=None if before is None else session.frozen_once("start filters", before[name]).reshape(shape),
        clean=None if clean is None else session.frozen_once("clean filters", clean[name]).reshape(shape),
        held_out=len(session.held_out),
    )


@in_slices(RadiusCurves, IMAGES)
def radius_task(session: ImageMoment) -> ProbeTask[RadiusCurves]:
    """Accuracy against the radius, of the network now and after clean training."""
    attack, step = session.config.attack, session.steps_done

    def begin() -> Generator[None, None, RadiusCurves]:
        x, y = session.held_out.take(RADIUS_SIZE)
        clean = None if session.clean is None else session.classifier_of(session.clean)
        return radius_curves(
            session.classifier.copy(), clean, session.clean_step, x, y, attack.norm, attack.tau, step,
            session.config.seed, session.memory,
        )  # fmt: skip

    return ProbeTask((step, session.clean_step, attack.norm, attack.tau), begin)


@in_slices(Examples, IMAGES)
def examples_task(session: ImageMoment) -> ProbeTask[Examples]:
    """Some test images and what the attack adds to them."""
    attack, steps, step = session.config.attack, session.config.evaluation.steps, session.steps_done

    def begin() -> Generator[None, None, Examples]:
        x, y = session.held_out.take(EXAMPLES)
        classes = session.images.classes
        return examples(session.classifier.copy(), x, y, classes, attack, steps, step, session.config.seed)

    return ProbeTask((step, attack.norm, attack.tau, steps), begin)


@in_slices(CleanExamples, IMAGES)
def clean_examples_task(session: ImageMoment) -> ProbeTask[CleanExamples] | None:
    """The same images and what the attack adds to them on the clean network, whose weights never change."""
    attack, steps, step, clean = (
        session.config.attack,
        session.config.evaluation.steps,
        session.clean_step,
        session.clean,
    )
    if clean is None:
        return None

    def begin() -> Generator[None, None, CleanExamples]:
        x, y = session.held_out.take(EXAMPLES)
        classes, model = session.images.classes, session.classifier_of(clean)
        return CleanExamples((yield from examples(model, x, y, classes, attack, steps, step, session.config.seed)))

    return ProbeTask((step, attack.norm, attack.tau, steps), begin)


@in_slices(LayersPrinciple1, IMAGES)
def layers_task(session: ImageMoment) -> ProbeTask[LayersPrinciple1] | None:
    """Principle 1 in every layer, once clean training has ended, if the start is known."""
    start, clean, step = session.start_matrices, session.clean_matrices, session.steps_done
    size = session.config.evaluation.size
    if start is None or clean is None:
        return None

    def begin() -> Generator[None, None, LayersPrinciple1]:
        x, _ = session.held_out.take(size)
        return layers_principle1(start, clean, session.classifier.copy(), x, step)

    return ProbeTask((step, session.clean_step, size), begin)


@in_slices(LayersSpectrum, IMAGES)
def spectra(session: ImageMoment) -> ProbeTask[LayersSpectrum]:
    """Singular values of every layer's weights and of what they changed by."""
    start, clean, step = session.start_matrices, session.clean_matrices, session.steps_done

    def begin() -> Generator[None, None, LayersSpectrum]:
        known = {"start": start, "now": matrices(session.classifier), "clean": clean}
        weights = {moment: each for moment, each in known.items() if each is not None}
        infos = tuple(each.info for each in layers(session.network))
        return layers_spectrum(infos, weights, step, session.memory)

    return ProbeTask((step, session.clean_step), begin)


@in_slices(Features, IMAGES)
def features_task(session: ImageMoment) -> ProbeTask[Features] | None:
    """The pictures that were asked for."""
    request, step = session.feature_request, session.steps_done
    if not request.units:
        return None

    def begin() -> Generator[Features | None, None, Features]:
        before = {"start": session.init, "clean": session.clean}
        networks = {m: session.classifier_of(state) for m, state in before.items() if state is not None}
        networks["now"] = session.classifier.copy()
        image = session.held_out.take(request.image + 1)[0][-1] if request.origin == "image" else None
        return visualise(
            {moment: each.module for moment, each in networks.items()}, request, image, session.images.shape, step,
            session.config.seed,
        )  # fmt: skip

    return ProbeTask((request, step, session.clean_step), begin)
