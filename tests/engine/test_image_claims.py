"""Claims about networks on images: every verdict follows from figures and thresholds."""

from __future__ import annotations

import pytest

from engine.claims import base, images
from engine.claims.base import check
from engine.claims.images import IMAGE_RANK
from engine.config.presets import load_preset
from engine.core import metrics
from tests.engine.test_claims import CLEAN_END, NOW, Figures, verdicts

LAYERS = ("conv1", "conv2", "fc1")
PRINCIPLE = (0.25, 0.15, 0.9, 0.95)

# A run in which every claim about images holds: (name, step) → value.
GOOD: dict[tuple[str, int], float] = {
    ("report/accuracy/clean", CLEAN_END): 0.65,
    ("report/accuracy/pgd", CLEAN_END): 0.26,
    ("report/accuracy/pgd", NOW): 0.43,
    **{(f"report/{n}", NOW): v for n, v in zip(metrics.PRINCIPLE1, PRINCIPLE, strict=True)},
    **{
        ("report/" + metrics.layer(layer, name), NOW): value
        for layer in LAYERS
        for name, value in zip(metrics.LAYER_PRINCIPLE1, PRINCIPLE, strict=True)
    },
    **{("report/" + metrics.layer(layer, "active_share"), NOW): 0.4 for layer in LAYERS},
    **{
        (metrics.local(layer, name), NOW): value
        for layer in LAYERS[:2]
        for name, value in zip(
            ("robust_before", "robust_after", *metrics.LAYER_PRINCIPLE1), (0.25, 0.3, *PRINCIPLE), strict=True
        )
    },
    **{
        (metrics.transfer(made_on, net), NOW): value
        for net, without, left in (("clean", 0.65, 0.25), ("other_clean", 0.63, 0.4), ("now", 0.6, 0.58))
        for made_on, value in ((metrics.NO_ATTACK, without), ("clean", left))
    },
    (metrics.rank("robust", IMAGE_RANK), NOW): 0.4,
    (metrics.rank("robust", 0), NOW): 0.43,
    ("verified/worst@0.5", NOW): 0.43,
    **{(f"rival/robust/{name}", NOW): 0.2 for name in (*images.IMAGE_BASELINES, "ntk_now")},
}
DECIDED = (1, 6, 7, 8, 9, 10, 11)


def figures(**values: float) -> Figures:
    return Figures(GOOD, load_preset("cifar10-filters"))


def test_all_that_images_decide_hold_on_a_run_as_the_paper_has_it() -> None:
    found = check(figures())
    assert [claim.id for claim in found] == list(range(1, 12))
    assert [i for i, verdict in verdicts(found).items() if verdict == "holds"] == list(DECIDED)
    assert all(v == "not measured" for i, v in verdicts(found).items() if i not in DECIDED)


@pytest.mark.parametrize(
    ("claim", "name", "step", "value"),
    [
        (1, "report/accuracy/clean", CLEAN_END, images.IMAGE_ACCURATE - 0.001),
        (1, "report/accuracy/pgd", CLEAN_END, images.IMAGE_FRAGILE * 0.65 + 0.001),
        (6, "rival/robust/linear", NOW, 0.43 - images.IMAGE_GAP + 0.001),
        (6, "rival/robust/quadratic", NOW, 0.43 - images.IMAGE_GAP + 0.001),
        (6, "rival/robust/ntk", NOW, 0.43 - images.IMAGE_GAP + 0.001),
        (8, metrics.local("conv2", "cos_clean_now"), NOW, 0.25 + images.CLOSER - 0.001),
        (8, metrics.local("conv1", "share"), NOW, base.MOST),
        (8, metrics.local("conv1", "robust_after"), NOW, 0.25 + images.LOCAL_GAIN - 0.001),
        (9, metrics.rank("robust", IMAGE_RANK), NOW, 0.26 + images.IMAGE_SHARE * 0.17 - 0.001),
        (10, metrics.transfer("clean", "other_clean"), NOW, 0.63 - images.CARRIED * 0.4 + 0.001),
        (10, metrics.transfer("clean", "now"), NOW, 0.6 - images.STOPPED * 0.4 - 0.001),
        (11, "report/" + metrics.layer("fc1", "cos_clean_now"), NOW, 0.25),
        (11, "report/" + metrics.layer("conv1", "share"), NOW, base.MOST),
    ],
)
def test_each_threshold_decides(claim: int, name: str, step: int, value: float) -> None:
    found = verdicts(check(Figures({**GOOD, (name, step): value}, load_preset("cifar10-filters"))))
    assert [i for i in DECIDED if found[i] != "holds"] == [claim]
    assert found[claim] == "does not hold"


def test_the_gain_in_robust_accuracy_decides() -> None:
    little = {**GOOD, ("report/accuracy/pgd", NOW): 0.26 + images.IMAGE_GAIN - 0.001}
    assert verdicts(check(Figures(little, load_preset("cifar10-filters"))))[11] == "does not hold"


def test_one_layer_alone_does_not_decide_that_purification_is_local() -> None:
    one = {key: value for key, value in GOOD.items() if not key[0].startswith("local/conv2")}
    assert verdicts(check(Figures(one, load_preset("cifar10-filters"))))[8] == "not measured"


def test_the_ntk_of_now_is_shown_and_does_not_decide() -> None:
    better = {**GOOD, ("rival/robust/ntk_now", NOW): 0.9}
    (claim,) = [c for c in check(Figures(better, load_preset("cifar10-filters"))) if c.id == 6]
    assert claim.verdict == "holds"
    assert ("rival/robust/ntk_now", 0.9) in [(f.name, f.value) for f in claim.evidence]
    without = {key: value for key, value in GOOD.items() if key[0] != "rival/robust/ntk_now"}
    assert verdicts(check(Figures(without, load_preset("cifar10-filters"))))[6] == "holds"
    missing = {key: value for key, value in GOOD.items() if key[0] != "rival/robust/linear"}
    assert verdicts(check(Figures(missing, load_preset("cifar10-filters"))))[6] == "not measured"
