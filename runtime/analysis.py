"""A video becomes poses, in one pass over it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial as bind
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
import pandas as pd
from numpy.typing import NDArray

from dlc_deploy import __version__
from dlc_deploy.errors import UsageError, VideoError
from dlc_deploy.poses import Poses

from .batches import Account, Batch, batches
from .conditions import ConditionsFile, read_conditions
from .estimator import Estimator
from .outputs.files import (
    ResultFiles,
    partial,
    prepare_folder,
    removed_on_error,
    write_results,
)
from .outputs.labeled_video import LabeledVideoWriter
from .outputs.report import RunReport, StageFacts, VideoFacts
from .outputs.track import Track, assemble, is_multi_animal
from .pipelines import Step
from .pipelines.conditional_top_down import Conditioned
from .pipelines.stream import Stage, Stream
from .video.reader import VideoInfo, VideoReader

Progress = Callable[[int, int | None], None]
"""Called with the frames done so far and the frames there are, or None where that is unknown."""
Write = Callable[[NDArray[np.uint8], Poses], None]
"""Called with each batch's frames [N, H, W, 3] and their poses, in order."""


def analyze_video(
    estimator: Estimator,
    video: str | Path,
    *,
    output: str | Path | None = None,
    frames: tuple[int, int | None] | None = None,
    batch: int | None = None,
    csv: bool = False,
    labeled_video: bool = False,
    pcutoff: float = 0.6,
    overwrite: bool = False,
    conditions: str | Path | None = None,
    progress: Progress = lambda done, total: None,
) -> RunReport:
    """Analyse a video and write DeepLabCut's files.

    Decoding and the steps of the estimator's pipeline overlap; ``estimator.parallelism`` says how
    many batches are in a step at once.

    Args:
        estimator: a loaded bundle.
        video: a video file.
        output: folder for the results; the video's own when None.
        frames: (first frame, frame to stop before); the whole video when None.
        batch: frames that go through the engines together; ``estimator.parallelism.batch`` when
            None.
        csv: write a ``.csv`` besides ``.h5`` and the pickles.
        labeled_video: write an ``.mp4`` with the keypoints drawn on it.
        pcutoff: keypoints with a lower score are not drawn.
        overwrite: replace existing results.
        conditions: a file with the poses of this video's frames that a conditional top-down bundle
            is to refine (see :mod:`dlc_deploy.runtime.conditions`); found by its conditions model
            when None.
        progress: told how far it is.

    Returns:
        The run report, as it is written beside the results.

    Raises:
        UsageError: a batch without frames, frames before the first, conditions for a bundle that
            takes none, or none for one that needs them.
        VideoError: not a video, or no frame in the range.
        InputError: results exist already, or the folder cannot be written.
        OutputError: the disk is full; nothing half-written is left.
    """
    video = Path(video)
    start, stop = frames or (0, None)
    if start < 0:
        raise UsageError(f"Expected frames to count from 0, got {start} as the first one.")
    batch = estimator.parallelism.batch if batch is None else batch
    if batch < 1:
        raise UsageError(f"Expected a batch of 1 frame or more, got {batch}.")
    route = _Route.through(estimator, None if conditions is None else Path(conditions))
    with VideoReader(video, start=start, stop=stop) as reader:
        folder = Path(output) if output is not None else video.parent
        files = ResultFiles.of(
            folder,
            video.stem,
            estimator.bundle.manifest.scorer,
            csv=csv,
            labeled_video=labeled_video,
            multi_animal=is_multi_animal(estimator.bundle.manifest),
        )
        files.refuse_existing(overwrite=overwrite)
        prepare_folder(folder)
        run = _Run(estimator, route, reader, batch, progress)
        with removed_on_error(files.paths()):
            with _labeler(files.labeled_video, reader.info, estimator, pcutoff) as write:
                track = run.track(start, write)
            return write_results(files, track, run.report(track))


@dataclass(frozen=True, slots=True)
class _Route:
    """The steps that a batch takes, and the file whose poses it takes along."""

    steps: tuple[Step, ...]
    conditions: ConditionsFile | None = None

    @classmethod
    def through(cls, estimator: Estimator, conditions: Path | None) -> _Route:
        if conditions is None:
            return cls(estimator.pipeline.steps)
        steps = estimator.refiner.refining_steps
        return cls(steps, read_conditions(conditions, estimator.bundle.manifest.bodyparts))

    def begin(self, batch: Batch) -> Batch:
        if self.conditions is None:
            return batch
        return batch.with_value(Conditioned(batch.frames, self.conditions.at(batch.indices)))

    def warnings(self, track: Track) -> tuple[str, ...]:
        frames = range(track.start, track.start + len(track))
        unknown = 0 if self.conditions is None else len(self.conditions.unknown(frames))
        if not unknown:
            return ()
        return (f"{unknown} of {len(frames)} frames have no entry in the file of conditions",)


class _Run:
    """One pass over one video."""

    def __init__(
        self,
        estimator: Estimator,
        route: _Route,
        reader: VideoReader,
        batch: int,
        progress: Progress,
    ) -> None:
        self._estimator, self._reader, self._batch = estimator, reader, batch
        self._route = route
        self._progress = progress
        self._account = Account()
        self._ahead = _frames_ahead(reader)
        self._began = time.perf_counter()
        workers = estimator.parallelism.workers
        stages = [Stage(name, bind(_through, step), workers) for name, step in route.steps]
        source = map(route.begin, batches(reader, batch, self._account))
        # One batch for each worker, one that waits, and one that is being read.
        self._stream = Stream(source, stages, depth=workers + 2)

    def track(self, start: int, write: Write) -> Track:
        """Run to the end; ``write`` is given each batch's frames with their poses."""
        parts: list[tuple[tuple[int, ...], Poses]] = []
        done, total = 0, self._ahead
        with self._stream as results:
            for batch in results:
                parts.append((batch.indices, batch.value))
                write(batch.frames, batch.value)
                done += len(batch.indices)
                self._progress(done, total)
        self._seconds = time.perf_counter() - self._began
        if not parts:
            raise VideoError(f"{self._reader.info.path}: no frame could be decoded.")
        return assemble(self._estimator.bundle.manifest, start, parts, set(self._account.missing))

    def report(self, track: Track) -> RunReport:
        """What to write beside the results."""
        estimator, account, info = self._estimator, self._account, self._reader.info
        analyzed = len(track) - len(track.missing)
        return RunReport(
            scorer=estimator.bundle.manifest.scorer,
            bundle=estimator.bundle.manifest.fingerprint,
            versions=_versions(),
            device=estimator.device,
            engines={n: e.description for n, e in estimator.pipeline.engines.items()},
            batch=self._batch,
            max_individuals=estimator.max_individuals,
            video=_video_facts(info),
            frames_range=(track.start, track.start + len(track)),
            frames_in_container=info.frames,
            frames_decoded=account.seen - len(account.missing),
            frames_analyzed=analyzed,
            missing=account.missing,
            pts_seconds=(account.first_pts_seconds, account.last_pts_seconds),
            stages={
                name: StageFacts(
                    workers=stage.workers,
                    items=stage.items,
                    busy_seconds=round(stage.busy_seconds, 4),
                    cpu_seconds=round(stage.cpu_seconds, 4),
                )
                for name, stage in self._stream.times.items()
            },
            wall_seconds=round(self._seconds, 4),
            frames_per_second=round(analyzed / self._seconds, 2),
            conditions=self._conditions(),
            warnings=_warnings(self._ahead, account.seen) + self._route.warnings(track),
        )

    def _conditions(self) -> str | None:
        if self._route.conditions is not None:
            return self._route.conditions.path.name
        other = self._estimator.conditions
        return None if other is None else other.manifest.fingerprint


def _through(step: Callable[[Any], Any], batch: Batch) -> Batch:
    return batch.with_value(step(batch.value))


def _warnings(ahead: int | None, seen: int) -> tuple[str, ...]:
    if ahead is None or ahead == seen:
        return ()
    why = "the file may be cut short" if seen < ahead else "the header is wrong"
    return (f"expected {ahead} frames by the header of the video, got {seen}: {why}",)


def _frames_ahead(reader: VideoReader) -> int | None:
    ends = [end for end in (reader.info.frames, reader.stop) if end is not None]
    return max(0, min(ends) - reader.start) if ends else None


@contextmanager
def _labeler(
    path: Path | None, info: VideoInfo, estimator: Estimator, pcutoff: float
) -> Iterator[Write]:
    """A function that adds batches to a labelled video, or does nothing without a ``path``."""
    if path is None:
        yield lambda frames, poses: None
        return
    manifest = estimator.bundle.manifest
    with LabeledVideoWriter(
        partial(path),
        width=info.width,
        height=info.height,
        fps=info.fps,
        keypoints=len(manifest.bodyparts) + len(manifest.unique_bodyparts),
        pcutoff=pcutoff,
    ) as writer:

        def write(frames: NDArray[np.uint8], poses: Poses) -> None:
            for row, frame in enumerate(frames):
                writer.write(frame, poses, row)

        yield write


def _video_facts(info: VideoInfo) -> VideoFacts:
    return VideoFacts(
        name=info.path.name,
        bytes=info.path.stat().st_size,
        width=info.width,
        height=info.height,
        fps=info.fps,
        codec=info.codec,
        pixel_format=info.pixel_format,
    )


def _versions() -> dict[str, str]:
    """Of the modules themselves: the packages have other names where conda installed them."""
    modules = {"numpy": np, "opencv-python-headless": cv2, "av": av, "pandas": pd}
    return {"dlc-deploy": __version__} | {n: str(m.__version__) for n, m in modules.items()}
