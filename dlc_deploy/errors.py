"""Every error that a person is meant to read, and the exit status it ends a command with.

    DlcDeployError                 1   an unexpected fault
    ├── InputError                 2   what was given cannot be used
    │   ├── UsageError             2   the command line contradicts itself
    │   ├── ConfigError            2   pytorch_config.yaml is not what the model needs
    │   ├── SnapshotError          2   a snapshot is damaged, foreign, or of another model
    │   ├── BundleError            2   a bundle is incomplete, edited or from another schema
    │   └── VideoError             2   not a video, or nothing in it can be decoded
    ├── UnavailableError           2   a device, provider or package is not on this machine
    ├── OutputError                1   a result could not be written (disk full, for one)
    └── VerificationError          3   the result differs from its reference: nothing is handed over

A message says what was expected, what came, and what to do.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar


def some(values: Sequence[object], shown: int = 5) -> str:
    """The first few of ``values`` for a message, with dots where there are more."""
    return ", ".join(map(str, values[:shown])) + (", ..." if len(values) > shown else "")


class DlcDeployError(Exception):
    """Base of all errors that dlc-deploy raises on purpose."""

    exit_status: ClassVar[int] = 1


class InputError(DlcDeployError):
    """What was given cannot be used."""

    exit_status = 2


class UsageError(InputError):
    """Options that contradict each other or do not apply."""


class ConfigError(InputError):
    """A ``pytorch_config.yaml`` that does not describe a model we can build."""


class SnapshotError(InputError):
    """A snapshot that is damaged, not a snapshot, or does not fit its configuration."""


class BundleError(InputError):
    """A bundle that is incomplete, edited, or written by another schema."""


class VideoError(InputError):
    """A file that is not a video, or from which no frame can be decoded."""


class UnavailableError(DlcDeployError):
    """An explicitly requested device, provider or package is not on this machine."""

    exit_status = 2


class OutputError(DlcDeployError):
    """A result could not be written; nothing half-written stands under a final name."""


class VerificationError(DlcDeployError):
    """A result differs from its reference by more than the contract allows."""

    exit_status = 3
