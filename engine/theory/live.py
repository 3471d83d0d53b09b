"""What the window shows of the theory's network (:mod:`engine.run.live`)."""

from __future__ import annotations

from collections.abc import Callable, Generator
from dataclasses import replace
from functools import partial

import torch
from torch import Tensor

from engine.config.experiment import SPARSE_CODING
from engine.core import metrics
from engine.core.arrays import frozen
from engine.core.results import (
    CleanMixture,
    CleanPerturbations,
    FeatureFates,
    LayerInfo,
    LayersPrinciple1,
    LowRank,
    Mixture,
    Perturbations,
    Principle1,
    RadiusCurves,
    Sparsity,
    Weights,
    Winners,
)
from engine.core.spectra import LayersSpectrum
from engine.data.sparse_stream import SparseCoding
from engine.models.symmetric_relu import SymmetricRelu
from engine.probes import (
    feature_fates,
    low_rank,
    mixture,
    perturbation,
    principle1,
    radius,
    sparsity,
    spectrum,
    winners,
)
from engine.run.live import ProbeTask, at_once, in_slices
from engine.theory.moment import TheoryMoment


@at_once(Weights, SPARSE_CODING)
def weights(session: TheoryMoment) -> Weights:
    """The weights themselves, with the world that they are seen in."""
    clean = session.weight_clean
    return Weights(
        now=frozen(session.model.weight),
        start=session.frozen_once("start", session.weight_init),
        clean=None if clean is None else session.frozen_once("clean", clean),
        dictionary=session.frozen_once("dictionary", session.world.dictionary),
        target=session.frozen_once("target", session.world.target),
        bias=session.bias_at(session.steps_done),
    )


@at_once(Mixture, SPARSE_CODING)
def mixtures(session: TheoryMoment) -> Mixture:
    """Pure part and dense mixture of each neuron."""
    weight, world = session.model.weight, session.world
    return mixture.mixture(weight, world.dictionary, world.target, _coefficients(session))


def _coefficients(session: TheoryMoment) -> Tensor:
    """C = W M (m, D), which several probes start from."""
    return session.at_step("coefficients", lambda: session.model.weight @ session.world.dictionary)


@at_once(CleanMixture, SPARSE_CODING)
def mixtures_after_clean(session: TheoryMoment) -> CleanMixture | None:
    """The same of the clean network, measured once, as its weights never change."""
    clean, world = session.weight_clean, session.world
    if clean is None:
        return None
    make = partial(mixture.mixture, clean, world.dictionary, world.target)
    return session.once("mixture after clean", clean, lambda: CleanMixture(make()))


@at_once(Principle1, SPARSE_CODING)
def kept_directions(session: TheoryMoment) -> Principle1 | None:
    """What is kept of the clean neurons, once there are any."""
    clean = session.weight_clean
    if clean is None:
        return None
    make = partial(principle1.principle1, session.weight_init, clean, session.model.weight)
    return session.at_step(f"principle 1, {session.clean_step}", make)


@at_once(LayersPrinciple1, SPARSE_CODING)
def kept_directions_by_layer(session: TheoryMoment) -> LayersPrinciple1 | None:
    """The same as of a network on images, so that one view shows both; activity is told by :class:`Sparsity`."""
    found = kept_directions(session)
    if found is None:
        return None
    return LayersPrinciple1(session.steps_done, _layers(session), {metrics.HIDDEN: found}, {}, 0)


@at_once(Sparsity, SPARSE_CODING)
def active_shares(session: TheoryMoment) -> Sparsity:
    """How often each neuron is active on the live evaluation's samples."""
    x, _ = session.held_out.take(session.config.evaluation.size, session.config.world.sigma_x)
    return sparsity.sparsity(_present(session), x)


@at_once(Perturbations, SPARSE_CODING)
def perturbations(session: TheoryMoment) -> Perturbations:
    """What FGM adds to some samples."""
    return _perturbed_now(session)[1]


@at_once(CleanPerturbations, SPARSE_CODING)
def perturbations_of_clean(session: TheoryMoment) -> CleanPerturbations | None:
    """The same of the clean network, on the same samples, measured once, as its weights never change."""
    weight, bias = session.weight_clean, session.clean_bias
    if weight is None or bias is None:
        return None
    clean = SymmetricRelu(weight, bias)
    delta, found = _perturbed(session, "perturbations, clean", (session.clean_step, bias), lambda: clean)
    now, _ = _perturbed_now(session)
    pair = delta, now
    known: tuple[tuple[Tensor, Tensor], CleanPerturbations] | None = session.memory.get("perturbations, both")
    if known is None or known[0][0] is not delta or known[0][1] is not now:
        known = pair, perturbation.beside(session.clean_step, found, delta, now)
        session.memory["perturbations, both"] = known
    return known[1]


def _perturbed_now(session: TheoryMoment) -> tuple[Tensor, Perturbations]:
    moment = session.steps_done, session.bias_at(session.steps_done)
    return _perturbed(session, "perturbations, now", moment, lambda: _present(session))


def _perturbed(
    session: TheoryMoment, name: str, moment: tuple[int, float], network: Callable[[], SymmetricRelu]
) -> tuple[Tensor, Perturbations]:
    """δ and its anatomy of the network at a ``moment`` (its step and bias), kept in ``memory`` until another is asked.

    What decides it: weights and bias, the samples, and the ball; the attack is FGM from the sample itself.
    """
    attack, sigma_x = session.config.attack, session.config.world.sigma_x
    key = (*moment, sigma_x, perturbation.SIZE, attack.norm, attack.tau)
    known: tuple[object, tuple[Tensor, Perturbations]] | None = session.memory.get(name)
    if known is None or known[0] != key:
        x, y = session.held_out.take(perturbation.SIZE, sigma_x)
        known = key, perturbation.of_fgm(network(), session.world, x, y, attack.norm, attack.tau)
        session.memory[name] = known
    return known[1]


@at_once(Winners, SPARSE_CODING)
def lottery_tickets(session: TheoryMoment) -> Winners:
    """Neurons that led on one feature from the start, and their fate."""
    world, sigma_0 = session.world, session.config.model.sigma_0
    start = session.weight_init
    make = partial(winners.leads_at_start, start, world.dictionary, world.target, sigma_0)
    living = mixture.alive(torch.linalg.vector_norm(session.model.weight, dim=1))
    return winners.fate(session.once("leads", start, make), _coefficients(session), living, world.target)


@at_once(FeatureFates, SPARSE_CODING)
def features_of_neurons(session: TheoryMoment) -> FeatureFates:
    """Every neuron's feature at the start, after clean training and now."""
    start, clean, dictionary = session.weight_init, session.weight_clean, session.world.dictionary
    of = feature_fates.feature_of
    return FeatureFates(
        session.once("features, start", start, partial(of, start, dictionary)),
        None if clean is None else session.once("features, clean", clean, partial(of, clean, dictionary)),
        of(session.model.weight, dictionary, _coefficients(session)),
    )


@at_once(LowRank, SPARSE_CODING)
def change_since_clean(session: TheoryMoment) -> LowRank | None:
    """The singular values of what has changed since clean training ended."""
    clean = session.weight_clean
    if clean is None:
        return None
    return low_rank.low_rank(session.model.weight, clean, session.world.dense_direction, session.rank)


@in_slices(RadiusCurves, SPARSE_CODING)
def radius_curves(session: TheoryMoment) -> ProbeTask[RadiusCurves]:
    """Accuracy against the radius, of the network now and after clean training, and the oracle's."""
    attack, sigma_x, bias = session.config.attack, session.config.world.sigma_x, session.bias_at(session.steps_done)
    clean = None
    if session.weight_clean is not None and session.clean_bias is not None:
        clean = SymmetricRelu(session.weight_clean, session.clean_bias)

    def begin() -> Generator[None, None, RadiusCurves]:
        x, y = session.held_out.take(radius.SIZE, sigma_x)
        world = SparseCoding(session.config.world, session.world.dictionary, session.world.target)
        return radius.radius_curves(
            _present(session), clean, session.clean_step, world, x, y, attack.norm, attack.tau, session.steps_done,
            session.config.seed, session.memory,
        )  # fmt: skip

    known = radius.oracle_radii(session.memory, attack.norm, attack.tau, sigma_x)  # measured anew until it is complete
    decided_by = session.steps_done, bias, session.clean_step, session.clean_bias, attack.norm, attack.tau, sigma_x
    return ProbeTask((*decided_by, known), begin)


@in_slices(LayersSpectrum, SPARSE_CODING)
def spectra(session: TheoryMoment) -> ProbeTask[LayersSpectrum]:
    """Singular values of the weights and of what they changed by, and the features that they represent."""
    start, clean, step = session.weight_init, session.weight_clean, session.steps_done

    def begin() -> Generator[None, None, LayersSpectrum]:
        weights = {"start": start, "now": session.model.weight.clone()}
        if clean is not None:
            weights["clean"] = clean
        by_layer = {moment: {metrics.HIDDEN: weight} for moment, weight in weights.items()}
        found = yield from spectrum.layers_spectrum(_layers(session), by_layer, step, session.memory)
        dictionary = session.world.dictionary
        features = {moment: spectrum.effective_features(weight, dictionary) for moment, weight in weights.items()}
        return replace(found, features=features)

    return ProbeTask((step, session.clean_step), begin)


def _layers(session: TheoryMoment) -> tuple[LayerInfo]:
    return (LayerInfo(metrics.HIDDEN, "linear", tuple(session.model.weight.shape)),)


def _present(session: TheoryMoment) -> SymmetricRelu:
    """The network now, with weights of its own."""
    return SymmetricRelu(session.model.weight.clone(), session.bias_at(session.steps_done))
