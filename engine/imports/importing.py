"""Two checkpoints that somebody trained elsewhere, made a run folder that every view reads like one of our own.

The weights become the checkpoints of the start (step 0, if it is given), of the end of clean training and of the end
of the second phase; at the ends the same evaluations are made as in a run that trains. The files are only read.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from engine.config.knobs import Imported, WeightFile
from engine.core.arrays import frozen
from engine.core.device import choose, prepare_thread
from engine.core.errors import ConfigError, WriteError
from engine.core.files import absolute
from engine.core.generators import seeded
from engine.core.measurement import Measurement, wilson
from engine.core.notices import notice
from engine.core.slices import Progress, finish, silent
from engine.data.images import BOX, Cancelled, HeldOutImages, Images
from engine.images.config import ImageConfig
from engine.images.config import images as images_of
from engine.images.data import describe, load
from engine.images.evaluation import ImageRequest, evaluate
from engine.images.layout import CLEAN, GENERATORS, NOW, START
from engine.images.moment import NetworkState
from engine.images.training import start as begin_network
from engine.imports.files import WeightsFile, read_file
from engine.imports.keys import Fitted, fit
from engine.imports.request import ImportRequest, Normalisation
from engine.models.base import DataFacts
from engine.models.classifier import ImageClassifier
from engine.models.layers import Normalise, layers
from engine.probes.layers import CHUNK, Matrices
from engine.probes.robustness import accuracy
from engine.run import creation
from engine.run.recorder import Recorder
from engine.run.snapshot import IMPORT
from engine.run.state import Arrays
from engine.run.store import Store
from engine.run.summary import summarise
from engine.worlds import settled

CAUSES = "another normalisation, classes in another order, colours in another order, or another architecture"
LOADED = 0.2  # share of the work that is done when the data are there
CHECKED = 0.3  # and when the clean accuracies are known


@dataclass(frozen=True)
class ImportedRun:
    """A run folder that was made, what was taken off the names in each file, and the clean accuracies (rights, n)."""

    folder: Path
    imported: Imported
    accuracies: Mapping[str, tuple[int, int]]

    def lines(self) -> list[str]:
        """What was done, a line each."""
        found = [
            f"{what}: {each.file}, SHA-256 {each.sha256}" + (f"; taken off: {each.taken_off}" if each.taken_off else "")
            for what, each in self.imported.files.items()
        ]
        how = self.imported
        found.append(f"normalisation: {how.normalisation} (mean {how.mean}; std {how.std})")
        for what, (right, n) in self.accuracies.items():
            low, high = wilson(right, n)
            found.append(f"{what} network: clean accuracy {right / n:.3f} [{low:.3f}, {high:.3f}], n = {n} test images")
        return found


def import_checkpoints(
    request: ImportRequest, *, device: str | None = None, progress: Progress = silent,
    cancelled: Callable[[], bool] = lambda: False,
) -> ImportedRun:  # fmt: skip
    """Make the run folder ``request.out`` of the files that ``request`` names.

    ``device`` is where it is measured. If ``cancelled()`` turns true, :class:`Cancelled` is raised. Raises
    :class:`ConfigError` for a field, a file or weights that do not fit, :class:`StoreError` for the folder,
    :class:`DeviceError` for the device. No folder is left then.
    """

    def tell(share: float, what: str) -> None:
        if cancelled():
            raise Cancelled
        progress(share, what)

    config = images_of(settled(request.config()), "import")
    if device is not None:
        config = config.model_copy(update={"device": device})
    where = choose(config.device)
    creation.check_free(absolute(request.out))
    tell(0.0, "reading the weights")
    paths = {"start": request.start, "clean": request.clean, "robust": request.robust}
    files = {what: read_file(path, f"--{what}") for what, path in paths.items() if path is not None}
    images = load(config, lambda share, what: tell(LOADED * share, what))
    work = _Import(config, request, images, describe(images), where)
    return work.run(files, tell)


class _Import:
    """One import: its config, the data on the device, and the networks."""

    def __init__(
        self, config: ImageConfig, request: ImportRequest, images: Images, facts: DataFacts, device: torch.device
    ) -> None:
        self.config, self.request, self.images, self.facts, self.device = config, request, images, facts, device
        self.threads = prepare_thread(config.threads)
        placed = images.to(device, channels_last=config.training.channels_last)
        self.held_out = HeldOutImages(placed)
        network = begin_network(config, facts, device)
        self.normalise = next((n for n, m in network.named_modules() if isinstance(m, Normalise)), None)
        self.layers = tuple(each.name for each in layers(network))
        self.network: nn.Module = network.requires_grad_(False).eval()

    def run(self, files: Mapping[str, WeightsFile], tell: Progress) -> ImportedRun:
        """Fit, check and write."""
        fitted = {what: self._fit(what, file) for what, file in files.items()}
        how, mean, std = self._normalisation(fitted)
        states = {what: self._state(each, mean[what], std[what]) for what, each in fitted.items()}
        imported = Imported(
            **{what: _origin(files[what], each) for what, each in fitted.items()},
            normalisation=how, mean=_text(mean["clean"]), std=_text(std["clean"]),
        )  # fmt: skip
        accuracies = self._check(states, tell)
        self.config = self.config.model_copy(update={"imported": imported})
        out = absolute(self.request.out)
        try:
            Store.create(out, self.config, lambda store: self._write(store, states, tell)).close()
        except WriteError as error:  # it names the folder by what it is called until it is whole
            raise WriteError(f"{out} cannot be written: {error.__cause__ or error}") from None
        return ImportedRun(out, imported, accuracies)

    # --- the weights

    def _fit(self, what: str, file: WeightsFile) -> Fitted:
        model = self.request.model
        where = f"--{what}: {file.path.name} for {model} on {self.request.data} ({len(self.images.classes)} classes)"
        return fit(file.tensors, self._without_normalisation(), self.facts.shape[0], where)

    def _without_normalisation(self) -> NetworkState:
        own = () if self.normalise is None else (f"{self.normalise}.mean", f"{self.normalise}.std")
        return {name: each for name, each in self.network.state_dict().items() if name not in own}

    def _normalisation(
        self, fitted: Mapping[str, Fitted]
    ) -> tuple[Normalisation, dict[str, Tensor], dict[str, Tensor]]:
        """Which choice is in force, and mean and deviation (C,) by file."""
        request, channels = self.request, self.facts.shape[0]
        inside = {what: each.mean is not None for what, each in fitted.items()}
        how = request.normalisation or ("inside" if all(inside.values()) else None)
        lacking = next((what for what, there in inside.items() if not there), "")
        if how is None:
            raise ConfigError(
                f"--normalisation: none was given and --{lacking} holds none; allowed: outside (images were normalised "
                "before the network; --mean and --std say how), none (pixels from 0 to 1 as they are)"
            )
        if how == "inside" and lacking:
            raise ConfigError(f"--normalisation: got inside, but --{lacking} holds none; allowed: outside, none")
        if how != "inside" and any(inside.values()):
            what = next(what for what, there in inside.items() if there)
            raise ConfigError(f"--normalisation: got {how}, but --{what} holds mean and std; allowed: inside")
        if self.normalise is None and how != "none":
            raise ConfigError(
                f"--normalisation: got {how}; allowed for {request.model}: none, as it has no place for it"
            )
        if how == "inside":
            means = {what: each.mean for what, each in fitted.items() if each.mean is not None}
            return how, means, {what: each.std for what, each in fitted.items() if each.std is not None}
        mean, std = torch.zeros(channels), torch.ones(channels)
        if how == "outside":
            mean, std = self.facts.mean.float().flatten(), self.facts.std.float().flatten()
            if request.mean:
                mean, std = (self._channels(o, v) for o, v in (("--mean", request.mean), ("--std", request.std)))
        return how, dict.fromkeys(fitted, mean), dict.fromkeys(fitted, std)

    def _channels(self, option: str, values: tuple[float, ...]) -> Tensor:
        channels = self.facts.shape[0]
        if len(values) not in (1, channels):
            raise ConfigError(f"{option}: got {len(values)} numbers; allowed: {channels}, one a channel, or 1")
        return torch.tensor(values).expand(channels).clone()

    def _state(self, fitted: Fitted, mean: Tensor, std: Tensor) -> NetworkState:
        """The network's whole state, on the device, in the memory order of its own."""
        state = dict(fitted.state)
        if self.normalise is not None:
            state |= {f"{self.normalise}.mean": mean.view(-1, 1, 1), f"{self.normalise}.std": std.view(-1, 1, 1)}
        self.network.load_state_dict(state)
        return {name: each.detach().clone() for name, each in self.network.state_dict().items()}

    def _classifier(self, state: NetworkState) -> ImageClassifier:
        self.network.load_state_dict(state)
        return ImageClassifier(self.network, autocast=self.config.training.bf16).copy()

    # --- the sanity check

    def _check(self, states: Mapping[str, NetworkState], tell: Progress) -> dict[str, tuple[int, int]]:
        """Clean accuracy of the two trained networks. Raises :class:`ConfigError` if it is not the one expected."""
        found = {}
        for place, what in enumerate(("clean", "robust")):
            found[what] = self._accuracy(what, states[what], part(tell, LOADED + 0.05 * place, 0.05))
        right, n = found["clean"]
        low, high = wilson(right, n)
        expected, tolerance = self.request.expected, self.request.tolerance
        said = f"clean accuracy {right / n:.3f} [{low:.3f}, {high:.3f}], n = {n} test images"
        if expected is not None and not low - tolerance <= expected <= high + tolerance:
            raise ConfigError(
                f"--expect-accuracy: got {expected:g}; the clean network has {said}, more than {tolerance:g} away "
                f"beyond chance; likely {CAUSES}"
            )
        if expected is None and low <= 1 / len(self.images.classes):
            notice(f"the clean network has {said}: no better than guessing; likely {CAUSES}")
        return found

    def _accuracy(self, what: str, state: NetworkState, tell: Progress) -> tuple[int, int]:
        x, y = self.held_out.take(self.config.evaluation.report_size)
        plain = Measurement("clean", self.config.attack.norm, 0.0, 0, 0, len(y))
        generator = seeded(self.config.seed, f"import {what}", self.device)
        work = accuracy(self._classifier(state), x, y, plain, None, generator, box=BOX, chunk=CHUNK)
        return finish(work, lambda _: tell(0.5, f"{what} network: clean accuracy")).right, len(y)

    # --- the folder

    def _write(self, store: Store, states: Mapping[str, NetworkState], tell: Progress) -> None:
        """Fill the new folder: what was measured, the switch of the phase, the checkpoints, the summary."""
        recorder = Recorder(store)
        try:
            self._record(recorder, states, tell)
        finally:
            recorder.close()

    def _record(self, recorder: Recorder, states: Mapping[str, NetworkState], tell: Progress) -> None:
        schedule, imported = self.config.schedule, self.config.imported
        assert imported is not None
        recorder.event(0, IMPORT, "", ", ".join(each.file for each in imported.files.values()))
        steps = {"start": 0, "clean": schedule.clean_steps, "robust": schedule.total}
        for place, what in enumerate(states):
            each = (1 - CHECKED) / len(states)
            self._measure(recorder, steps[what], what, states, part(tell, CHECKED + place * each, each))
            if what == "clean":
                recorder.event(steps[what], "phase", "clean", schedule.second)
            self._save(recorder, steps[what], what, states)
        summary = summarise(
            recorder.store, recorder.history, recorder.events, recorder.protocol_at, diverged=False,
            steps=schedule.total, phase=schedule.second, device=self.device.type, threads=self.threads,
        )  # fmt: skip
        recorder.summary(summary)
        tell(1.0, "writing")

    def _measure(
        self, recorder: Recorder, step: int, what: str, states: Mapping[str, NetworkState], tell: Progress
    ) -> None:
        """The evaluations that a run makes at this step: live, and at a phase's end the report."""
        start = None if "start" not in states else self._matrices(states["start"])
        clean = self._matrices(states["clean"]) if step else None
        # As in a run, the estimate at the end of clean training is made before the clean weights are kept.
        kept = {True: clean, False: clean if step > self.config.schedule.clean_steps else None}
        requests = [
            ImageRequest(
                step, report, self.config, self._classifier(states[what]), start, kept[report], len(self.held_out)
            )
            for report in ((False, True) if step else (False,))
        ]
        done, slices = 0, sum(request.slices() for request in requests)
        for request in requests:
            for _ in evaluate(request, self.held_out, recorder.scalar, recorder.measured_by):
                done += 1
                tell(min(1.0, done / slices), f"{what} network: {'report' if request.report else 'estimate'}")

    def _matrices(self, state: NetworkState) -> Matrices:
        return {name: state[f"{name}.weight"].flatten(1) for name in self.layers}

    def _save(self, recorder: Recorder, step: int, what: str, states: Mapping[str, NetworkState]) -> None:
        clean_step = self.config.schedule.clean_steps if step else 0
        parts = {NOW: states[what], START: states.get("start"), CLEAN: states["clean"] if step else None}
        arrays: Arrays = {
            f"generator.{name}": frozen(seeded(self.config.seed, name, self.device).get_state()) for name in GENERATORS
        }
        for prefix, state in parts.items():
            arrays |= {prefix + name: frozen(each) for name, each in (state or {}).items()}
        found: dict[str, Any] = {
            "scheduled": True, "clean_step": clean_step, "phase_start": clean_step, "reported_at": step or -1,
            "pending": [], "device": self.device.type, "threads": self.threads, "torch": torch.__version__,
            "position": 0, "redrawn": False, "unlimited": [], "data_hash": self.images.digest(),
            "facts": self.facts.to_state(), "classes": list(self.images.classes),
        }  # fmt: skip
        phase = self.config.schedule.second if step else "clean"
        recorder.checkpoint(step, arrays, self.config, phase, found, keep=True)


def part(tell: Progress, first: float, length: float) -> Progress:
    """Hears the share of a part of the work that begins at ``first`` and is ``length`` of all."""
    return lambda share, what: tell(first + length * share, what)


def _origin(file: WeightsFile, fitted: Fitted) -> WeightFile:
    taken = ", ".join((*file.wrappers, *fitted.taken_off))
    return WeightFile(file=file.path.name[:300], sha256=file.sha256, taken_off=taken)


def _text(values: Tensor) -> str:
    return ", ".join(f"{value:.6g}" for value in values.tolist())
