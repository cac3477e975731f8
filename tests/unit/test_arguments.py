from __future__ import annotations

import argparse

import pytest

from dlc_deploy.arguments import natural, needing, positive
from dlc_deploy.errors import UnavailableError


def test_numbers_are_read():
    assert (natural("0"), natural("12"), positive("1")) == (0, 12, 1)


@pytest.mark.parametrize(
    ("kind", "text"), [(natural, "-1"), (natural, "1.5"), (positive, "0"), (positive, "two")]
)
def test_other_words_are_no_numbers(kind, text):
    with pytest.raises(argparse.ArgumentTypeError, match=f"got '{text}'"):
        kind(text)


def test_a_missing_package_is_told_with_the_extra_that_brings_it():
    with (
        pytest.raises(UnavailableError, match=r"Training needs no_such_package, .*deploy\[train\]"),
        needing("train", "Training"),
    ):
        import no_such_package  # noqa: F401


def test_a_missing_part_of_this_package_is_a_fault():
    with pytest.raises(ModuleNotFoundError), needing("train", "Training"):
        import dlc_deploy.no_such_part  # noqa: F401
