"""Videos to poses with a network that runs in PyTorch: no bundle is needed.

As deeplabcut's ``apis/videos.py``. A bundle is faster (``dlc-export``, then ``dlc-analyze``).
"""

from __future__ import annotations

import itertools
import logging
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dlc_deploy.config import PoseConfig
from dlc_deploy.errors import UsageError, VideoError
from dlc_deploy.runtime.analysis import analyze_video
from dlc_deploy.runtime.progress import video_progress
from dlc_deploy.runtime.video.reader import Frame, VideoInfo, VideoReader

from ..data.dlcloader import DLCLoader
from ..data.snapshots import Snapshot
from ..inference.estimator import Snapshots, load_estimator
from ..inference.results import Result
from ..inference.runners import DetectorRunner, InferenceRunner
from ..task import Task

_log = logging.getLogger(__name__)
Pixels = NDArray[np.uint8]


def video_inference(
    video_path: str | Path,
    task: Task,
    pose_runner: InferenceRunner,
    detector_runner: DetectorRunner | None = None,
    with_identity: bool = False,
    cropping: Sequence[int] | None = None,
    *,
    quiet: bool = False,
) -> list[Result]:
    """What a model finds in each frame of a video.

    Args:
        video_path: the video.
        task: what the pose model does.
        pose_runner: see :func:`dlc_deploy.training.apis.utils.get_inference_runners`.
        detector_runner: finds the animals for a top-down model.
        with_identity: results must tell individuals apart.
        cropping: (x1, x2, y1, y2); only this part of each frame is looked at, and coordinates are
            those of the part, as in DeepLabCut.
        quiet: no progress bar.

    Returns:
        A result for each frame, see :data:`dlc_deploy.training.inference.results.Result`; NaN for a
        frame that cannot be decoded.

    Raises:
        UsageError: runners that do not fit the task, or a part outside of the frames.
        VideoError: not a video, or no frame in it can be decoded.
    """
    _check(Task(task), pose_runner, detector_runner, with_identity)
    with VideoReader(Path(video_path)) as reader:
        cut = _cut(cropping, reader.info)
        missing: list[int] = []
        frames = _decoded(reader, cut, missing)
        with video_progress(reader.info.path.name, quiet=quiet) as progress:
            found: list[Result] = []
            for result in _results(frames, pose_runner, detector_runner):
                found.append(result)
                progress(len(found) + len(missing), reader.info.frames)
    _report(reader.info, len(found), missing)
    return _with_gaps(found, missing)


def analyze_videos(
    config: str | Path,
    videos: str | Path | Sequence[str | Path],
    shuffle: int = 1,
    trainingsetindex: int = 0,
    save_as_csv: bool = False,
    snapshot_index: int | None = None,
    detector_snapshot_index: int | None = None,
    device: str | None = None,
    destfolder: str | Path | None = None,
    batch_size: int | None = None,
    ctd_conditions: str | Path | None = None,
    modelprefix: str = "",
    overwrite: bool = False,
) -> str:
    """Analyse videos with a snapshot of a project and write DeepLabCut's files.

    Args:
        config: the project's ``config.yaml``.
        videos: one or several of them.
        shuffle: number of the shuffle.
        trainingsetindex: which of the project's ``TrainingFraction``.
        save_as_csv: write a ``.csv`` besides ``.h5`` and the pickles.
        snapshot_index: of the pose model's snapshots by epoch, with the best one last; the
            project's ``snapshotindex`` when None.
        detector_snapshot_index: the same of its detector (``detector_snapshotindex``).
        device: ``cpu``, ``cuda``, ``cuda:N`` or ``mps``; the model configuration's when None.
        destfolder: folder for the results; each video's own when None.
        batch_size: frames that go through the networks together.
        ctd_conditions: for a conditional top-down model, the snapshot of a bottom-up model of the
            same bodyparts (.pt), or a file of the video's poses (see
            :mod:`dlc_deploy.runtime.conditions`).
        modelprefix: folder in the project that models are in, if it is not the project itself.
        overwrite: replace existing results.

    Returns:
        The name of the results, DeepLabCut's scorer.

    Raises:
        InputError: no such shuffle, snapshot or video, or results that exist already; its
            subclasses say more.
        OutputError: the disk is full; nothing half-written is left.
    """
    loader = DLCLoader(config, trainingsetindex, shuffle, modelprefix)
    source = f"model configuration of shuffle {shuffle}"
    model_config = PoseConfig.from_mapping(loader.model_cfg, source=source)
    conditions = None if ctd_conditions is None else Path(ctd_conditions)
    by_model = conditions is not None and conditions.suffix == ".pt"
    snapshots = Snapshots(
        _chosen(loader, snapshot_index).path,
        _chosen(loader, detector_snapshot_index, detector=True).path
        if loader.pose_task is Task.TOP_DOWN
        else None,
        conditions if by_model else None,
    )
    paths = [Path(videos)] if isinstance(videos, (str, Path)) else [Path(path) for path in videos]
    with load_estimator(model_config, snapshots, device=device, batch=batch_size) as estimator:
        for path in paths:
            with video_progress(path.name, quiet=not sys.stderr.isatty()) as progress:
                analyze_video(
                    estimator,
                    path,
                    output=destfolder,
                    csv=save_as_csv,
                    overwrite=overwrite,
                    conditions=None if by_model else conditions,
                    progress=progress,
                )
        return estimator.bundle.manifest.scorer


def _check(
    task: Task, pose: InferenceRunner, detector: DetectorRunner | None, with_identity: bool
) -> None:
    if pose.task is not task:
        raise UsageError(
            f"Expected the runner of a {task.name} model, got one of {pose.task.name}."
        )
    if detector is not None and task is not Task.TOP_DOWN:
        raise UsageError(f"Expected no detector_runner for a {task.name} model, got one.")
    if task is Task.TOP_DOWN and detector is None:
        raise UsageError(
            "A top-down model needs its detector to look at a video, got no detector_runner. Pass "
            "detector_path to get_inference_runners."
        )
    if task is Task.COND_TOP_DOWN:
        raise UsageError(
            "A conditional top-down model refines poses, which a video does not come with. Use "
            "analyze_videos with ctd_conditions, or call the runner's inference on pairs of a "
            'frame and {"cond_kpts": poses}.'
        )
    if with_identity and not pose.with_identity:
        raise UsageError(
            "Expected a runner that tells individuals apart, got another. Pass with_identity to "
            "get_inference_runners."
        )


def _cut(cropping: Sequence[int] | None, info: VideoInfo) -> Callable[[Pixels], Pixels]:
    """What takes the part of a frame that is asked for."""
    if cropping is None:
        return lambda frame: frame
    x1, x2, y1, y2 = cropping
    if not (0 <= x1 < x2 <= info.width and 0 <= y1 < y2 <= info.height):
        raise UsageError(
            f"{info.path}: expected cropping (x1, x2, y1, y2) inside of frames of {info.width} x "
            f"{info.height} pixels, got {tuple(cropping)}."
        )
    return lambda frame: np.ascontiguousarray(frame[y1:y2, x1:x2])


def _decoded(
    frames: Iterable[Frame], cut: Callable[[Pixels], Pixels], missing: list[int]
) -> Iterator[Pixels]:
    """Pixels of the frames that have some; numbers of the others go to ``missing``."""
    for frame in frames:
        if frame.rgb is None:
            missing.append(frame.index)
        else:
            yield cut(frame.rgb)


def _results(
    frames: Iterator[Pixels], pose: InferenceRunner, detector: DetectorRunner | None
) -> Iterator[Result]:
    if detector is None:
        yield from pose.results(frames)
        return
    size = max(pose.batch_size, detector.batch_size)
    while some := list(itertools.islice(frames, size)):
        yield from pose.results(zip(some, detector.inference(some), strict=True))


def _report(info: VideoInfo, found: int, missing: list[int]) -> None:
    if not found:
        raise VideoError(f"{info.path}: no frame could be decoded.")
    if missing:
        _log.warning("%s: %d frames could not be decoded: NaN", info.path, len(missing))
    if info.frames is not None and info.frames != found + len(missing):
        _log.warning("%s: expected %d frames by its header, got %d", info.path, info.frames, found)


def _with_gaps(found: list[Result], missing: list[int]) -> list[Result]:
    """``found`` with a result of NaN at each number of ``missing``, which are in order."""
    for number in missing:
        nothing: dict[str, NDArray[Any]] = {
            name: np.full_like(value, np.nan) for name, value in found[0].items()
        }
        found.insert(number, nothing)
    return found


def _chosen(loader: DLCLoader, index: int | None, *, detector: bool = False) -> Snapshot:
    what = "detector snapshot" if detector else "snapshot"
    if index is None:
        key = "detector_snapshotindex" if detector else "snapshotindex"
        index = loader.project_cfg.get(key, -1)
    known = loader.snapshots(detector=detector)
    if not known:
        raise UsageError(
            f"{loader.model_folder}: expected a {what}, found none. Train the model: dlc-train."
        )
    if type(index) is not int or not -len(known) <= index < len(known):
        raise UsageError(
            f"{loader.model_folder}: expected the number of one of {len(known)} {what}s "
            f"({', '.join(one.path.name for one in known)}), got {index!r}. Choose one."
        )
    return known[index]
