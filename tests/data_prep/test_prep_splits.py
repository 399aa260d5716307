from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from data_prep.cases import Case
from data_prep.splits import fold_splits, holdout_split
from pu_unet_monai.errors import UserError


def make_cases(rows):
    """Return a case for each (kind, group)."""
    return [Case(Path(f"{index:04d}.png"), (Path("m.png"),), kind, group) for index, (kind, group) in enumerate(rows)]


def rows(smallest):
    """Return a strategy for (kind, group) of images with at least some number of groups."""
    groups = st.integers(0, 25).map("g{}".format)
    row = st.tuples(st.sampled_from(["benign", "malignant", "normal"]), groups | st.none())
    return st.lists(row, min_size=smallest, max_size=80).filter(lambda found: count_groups(found) >= smallest)


def count_groups(found):
    named = {group for _, group in found if group is not None}
    return len(named) + sum(group is None for _, group in found)


def assert_each_once(cases, split):
    assert Counter(case.image for part in split.values() for case in part) == Counter(case.image for case in cases)
    assert all(split.values()), "a split is empty"


def assert_groups_whole(split):
    places = {(case.group, name) for name, part in split.items() for case in part if case.group is not None}
    assert len(places) == len({group for group, _ in places})


@given(rows(3), st.integers(0, 1000))
@settings(max_examples=60, deadline=None)
def test_holdout_places_each_case_once_and_keeps_groups_whole(found, seed):
    cases = make_cases(found)
    split = holdout_split(cases, seed)
    assert list(split) == ["training", "validation", "test"]
    assert_each_once(cases, split)
    assert_groups_whole(split)
    assert split == holdout_split(cases, seed)


@given(rows(5), st.integers(3, 5), st.integers(0, 1000))
@settings(max_examples=40, deadline=None)
def test_folds_test_each_case_once(found, number, seed):
    cases = make_cases(found)
    folds = fold_splits(cases, number, seed)
    assert len(folds) == number
    for fold in folds:
        assert_each_once(cases, fold)
        assert_groups_whole(fold)
    assert Counter(case.image for fold in folds for case in fold["test"]) == Counter(case.image for case in cases)
    assert all(folds[k]["validation"] == folds[(k + 1) % number]["test"] for k in range(number))
    assert folds == fold_splits(cases, number, seed)


@pytest.mark.parametrize("kind", [None, "polyp"])
def test_a_thousand_single_images_split_exactly(kind):
    split = holdout_split(make_cases([(kind, None)] * 1000), seed=42)
    assert {name: len(part) for name, part in split.items()} == {"training": 800, "validation": 100, "test": 100}


def test_classes_are_balanced():
    split = holdout_split(make_cases([("benign", None)] * 200 + [("malignant", None)] * 100), seed=0)
    for name, expected in {"training": (160, 80), "validation": (20, 10), "test": (20, 10)}.items():
        counts = Counter(case.kind for case in split[name])
        assert (counts["benign"], counts["malignant"]) == expected


def test_another_seed_gives_another_split():
    cases = make_cases([(None, None)] * 50)
    assert holdout_split(cases, 1) != holdout_split(cases, 2)


def test_three_images_are_enough():
    split = holdout_split(make_cases([("a", None), ("b", None), ("c", None)]), seed=42)
    assert [len(part) for part in split.values()] == [1, 1, 1]


def test_too_few_groups():
    with pytest.raises(UserError, match=r"40 case\(s\) in 2 group\(s\) are too few.* at least 3 groups; add cases"):
        holdout_split(make_cases([(None, "a"), (None, "b")] * 20), seed=42)


@pytest.mark.parametrize(("number", "message"), [(2, "--folds 2: expected at least 3"), (5, r"--folds 5: 4 case\(s\)")])
def test_wrong_number_of_folds(number, message):
    with pytest.raises(UserError, match=message):
        fold_splits(make_cases([(None, None)] * 4), number, seed=42)
