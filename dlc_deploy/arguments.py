"""What the commands' arguments have in common: numbers, and packages that an extra brings."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from contextlib import contextmanager

from dlc_deploy.errors import UnavailableError


def natural(text: str) -> int:
    """A whole number from 0 on, as the ``type`` of an argument."""
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"expected a whole number from 0 on, got {text!r}")
    return int(text)


def positive(text: str) -> int:
    """A whole number from 1 on, as the ``type`` of an argument."""
    number = int(text) if text.isdecimal() else 0
    if number < 1:
        raise argparse.ArgumentTypeError(f"expected a whole number from 1 on, got {text!r}")
    return number


@contextmanager
def needing(extra: str, what: str) -> Iterator[None]:
    """Imports that an extra of this package brings the packages for.

    Args:
        extra: what to install (``train``).
        what: needs it (``Training``).

    Raises:
        UnavailableError: a package that is not this one is missing.
    """
    try:
        yield
    except ModuleNotFoundError as error:
        if (error.name or "").startswith("dlc_deploy"):
            raise
        raise UnavailableError(
            f"{what} needs {error.name}, which is not installed. "
            f"Install it: pip install 'dlc-deploy[{extra}]'."
        ) from error
