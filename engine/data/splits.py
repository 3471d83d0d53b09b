"""Which folders are classes and which are splits: the layouts in which people keep labelled images.

The rule. A folder of images is a class. But a folder with the name of a split, in any case, whose images all lie in
folders of its own is that split, and those folders are the classes. The names are train, training; test, testing; val,
valid, validation; eval, evaluation; of several splits to test on the first of this order is taken, and the others are
named as left out. So a class may be called ``train`` beside ``bus`` and ``car``. Without splits a fifth of each class
is kept for testing. One folder may lie around all of it. What can be read in two ways is refused in one line. Imports
no torch.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from engine.core.errors import ConfigError
from engine.data.images import short, summary
from engine.data.tree import Tree, kind_of, left_behind

TRAIN = ("train", "training")
TESTS = (("test", "testing"), ("val", "valid", "validation"), ("eval", "evaluation"))  # the first found is taken
NAMED = (*TRAIN, *(name for names in TESTS for name in names))
TEST_SHARE = 0.2  # of each class, where no split is given
MAX_CLASSES = 1000

Entry = tuple[str, str]  # class, path


@dataclass(frozen=True, slots=True)
class Layout:
    """The ``classes`` in the order of their names; (class, path) of each image of the splits.

    ``test`` is None where no split is given: ``train`` holds all. ``how`` says in words how they were told apart;
    ``skipped`` counts the files that are no images, or lie outside, by kind.
    """

    classes: tuple[str, ...]
    train: tuple[Entry, ...]
    test: tuple[Entry, ...] | None
    how: str
    skipped: Mapping[str, int]

    def counts(self) -> tuple[int, int]:
        """Images for training, and held out."""
        if self.test is not None:
            return len(self.train), len(self.test)
        held_out = sum(held_out_of(n) for n in Counter(name for name, _ in self.train).values())
        return len(self.train) - held_out, held_out

    def words(self) -> str:
        """Classes, counts and what was left out."""
        return summary(self.classes, *self.counts(), self.how, skipped_words(self.skipped))


def held_out_of(count: int) -> int:
    """How many images of a class of ``count`` are kept for testing."""
    return max(1, round(count * TEST_SHARE))


def skipped_words(skipped: Mapping[str, int]) -> str:
    """What was skipped, the most frequent kind first: ``skipped 3 .txt, 1 .mp4``."""
    kinds = sorted(skipped.items(), key=lambda each: (-each[1], each[0]))
    shown = [f"{count:,} {kind}" for kind, count in kinds[:6]]
    rest = sum(count for _, count in kinds[6:])
    return f"skipped {', '.join(shown)}{f' and {rest:,} others' if rest else ''}" if kinds else ""


def layout(tree: Tree, where: Path, suffixes: tuple[str, ...]) -> Layout:
    """The layout of the files with ``suffixes`` in ``tree``.

    Raises :class:`ConfigError` naming ``world.folder`` if there is none, or if it can be read in two ways.
    """
    skipped = Counter(tree.skipped)
    paths = []
    for path in sorted(tree.files):
        if left_behind(path):
            continue
        if path.lower().endswith(suffixes):
            paths.append(path)
        else:
            skipped[kind_of(path)] += 1
    if not paths:
        seen = skipped_words(skipped)
        raise ConfigError(
            f"world.folder: {where} holds no image; allowed: {', '.join(suffixes[:11])} and others in class folders"
            + (f" ({seen})" if seen else "")
        )
    around = _around(paths)
    inside = [(tuple(path.split("/"))[len(around) :], path) for path in paths]
    deep = [path.split("/") for path in tree.folders]
    folders = {tuple(parts[len(around) :]) for parts in deep if parts[: len(around)] == around}
    loose = sum(len(parts) == 1 for parts, _ in inside)
    if loose:
        skipped["images outside of a class folder"] += loose
    inside = [(parts, path) for parts, path in inside if len(parts) > 1]
    train, test, extra = _splits(inside, {f[0] for f in folders if f}, where)
    if train is None or test is None:
        entries = [(parts[0], path) for parts, path in inside]
        classes = _classes(entries, {f[0] for f in folders if f}, where, "")
        _enough(entries, where)
        return Layout(classes, tuple(entries), None, "a fifth of each class kept for testing", skipped)
    found: list[tuple[tuple[str, ...], list[Entry]]] = []
    for split in (train, test):
        entries = [(parts[1], path) for parts, path in inside if parts[0] == split and len(parts) > 2]
        if not entries:
            raise ConfigError(f"world.folder: {where} holds no image in {split}/<class>; each split needs some")
        known = {f[1] for f in folders if len(f) > 1 and f[0] == split}
        found.append((_classes(entries, known, where, f"{split}/"), entries))
    (classes, train_entries), (test_classes, test_entries) = found
    if classes != test_classes:
        odd = sorted(set(classes) ^ set(test_classes))[0]
        here, there = (train, test) if odd in classes else (test, train)
        raise ConfigError(
            f"world.folder: {where} holds the class {odd!r} in {here} and not in {there}; both need the same classes"
        )
    _enough(train_entries, where)
    left = Counter(parts[0] for parts, _ in inside if parts[0] in extra)
    for name, count in left.items():
        skipped[f"images in {short(name)}"] += count
    return Layout(classes, tuple(train_entries), tuple(test_entries), f"{train} and {test}", skipped)


def _around(paths: Sequence[str]) -> list[str]:
    """The one folder around everything, as a list of its name, or an empty one if there is none."""
    parts = [path.split("/") for path in paths]
    top = parts[0][0]
    deep = all(len(p) > 2 and p[0] == top for p in parts)
    return [top] if deep and top.casefold() not in NAMED else []


def _splits(
    inside: Iterable[tuple[tuple[str, ...], str]], folders: set[str], where: Path
) -> tuple[str | None, str | None, set[str]]:
    """The folders of the training and of the test split, or None for both, and the folders with images left out."""
    direct: Counter[str] = Counter()
    nested: Counter[str] = Counter()
    for parts, _ in inside:
        (direct if len(parts) == 2 else nested)[parts[0]] += 1
    tops = set(direct) | set(nested)
    named = {name for name in tops | folders if name.casefold() in NAMED}
    splits = {name for name in named if nested[name]}
    classes = sorted(tops - splits)
    if not splits:
        if tops and tops <= named:  # nothing but splits, and yet no class in them
            raise ConfigError(
                f"world.folder: {where} holds images in {' and '.join(sorted(tops))} themselves; allowed: there a "
                "folder for each class"
            )
        return None, None, set()
    for name in sorted(splits):
        if direct[name]:
            raise ConfigError(
                f"world.folder: {where} holds images both in {name!r} and in folders of it; allowed: in it alone (a "
                "class), or in its folders alone (a split)"
            )
    train = _one([name for name in sorted(named - set(direct)) if name.casefold() in TRAIN], where)
    tests = [[n for n in sorted(named - set(direct)) if n.casefold() in names] for names in TESTS]
    full = [[n for n in names if nested[n]] for names in tests]
    test = _one(next((names for names in full if names), next((names for names in tests if names), [])), where)
    if (train is None or test is None) and classes:
        split = sorted(splits)[0]
        raise ConfigError(
            f"world.folder: {where} holds {split!r} with folders of images, as a split has, beside {classes[0]!r} with "
            "images itself or of another name; allowed: classes alone, or splits for training and testing"
        )
    if train is None:
        raise ConfigError(f"world.folder: {where} holds {test!r} without 'train'; allowed: both, or neither")
    if test is None:
        names = ", ".join(name for group in TESTS for name in group)
        raise ConfigError(
            f"world.folder: {where} holds {train!r} but none of {names}; allowed: both, or class folders alone, of "
            "which a fifth is kept for testing"
        )
    return train, test, tops - {train, test}


def _one(names: list[str], where: Path) -> str | None:
    """The only one of ``names``, None if there is none."""
    if len(names) > 1:
        raise ConfigError(f"world.folder: {where} holds {names[0]!r} and {names[1]!r}, one split twice; allowed: one")
    return names[0] if names else None


def _classes(entries: Iterable[Entry], folders: set[str], where: Path, prefix: str) -> tuple[str, ...]:
    """The classes in the order of their names; raises if they are too few or many, or one has no image."""
    found = {name for name, _ in entries}
    if empty := sorted(folders - found):
        raise ConfigError(f"world.folder: {where} holds no image in {prefix}{empty[0]}; each class needs some")
    if not 2 <= len(found) <= MAX_CLASSES:
        only = f", {next(iter(found))!r}" if len(found) == 1 else ""
        raise ConfigError(
            f"world.folder: {where} has {len(found):,} class{'es' * (len(found) != 1)}{only}; allowed: 2 to "
            f"{MAX_CLASSES:,}, each a folder of images"
        )
    for name in found:
        if not name.isprintable():  # bytes that are no UTF-8 among them: such a name can be neither shown nor stored
            raise ConfigError(f"world.folder: {where} holds the class {name!r}; allowed: names that can be printed")
    return tuple(sorted(found))


def _enough(entries: Iterable[Entry], where: Path) -> None:
    """Raise if a class has one image only."""
    for name, count in Counter(name for name, _ in entries).items():
        if count < 2:
            raise ConfigError(f"world.folder: {where} has one image of {name!r}; a class needs 2 at least")
