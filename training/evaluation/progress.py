"""A bar on standard error while networks run."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from numpy.typing import NDArray

from dlc_deploy.runtime.progress import Report, video_progress

from .prediction import Runner


class ShownRunner:
    """A runner with a bar for each of its runs.

    Args:
        runner: does the work.
        name: what stands before the bar.
    """

    def __init__(self, runner: Runner, name: str) -> None:
        self._runner, self._name = runner, name

    def inference(self, images: Iterable[Any]) -> Sequence[Mapping[str, NDArray[Any]]]:
        """Predictions of images, or of (image, context)."""
        everything = list(images)
        with video_progress(self._name, quiet=False) as report:
            return self._runner.inference(_counted(everything, report))


def _counted(images: Sequence[Any], report: Report) -> Iterator[Any]:
    for done, image in enumerate(images):
        report(done, len(images))
        yield image
    report(len(images), len(images))
