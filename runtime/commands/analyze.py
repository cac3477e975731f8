"""``dlc-analyze BUNDLE VIDEO...``: poses of every frame, in DeepLabCut's files."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING, get_args

from dlc_deploy.arguments import positive
from dlc_deploy.choices import EngineName
from dlc_deploy.errors import InputError, UsageError

if TYPE_CHECKING:
    from dlc_deploy.runtime.estimator import Estimator
    from dlc_deploy.runtime.outputs.report import RunReport

DESCRIPTION = "Turn videos into poses: DeepLabCut's own .h5, .csv and _full.pickle, and a report."


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the verb's arguments."""
    parser.add_argument("bundle", type=Path, help="a bundle made by dlc-export")
    parser.add_argument("videos", type=Path, nargs="+", metavar="VIDEO")
    parser.add_argument("-o", "--output", type=Path, metavar="DIR", help="default: by the video")
    parser.add_argument("--device", default="cpu", help="cpu or cuda:N (default: cpu)")
    parser.add_argument(
        "--batch",
        type=positive,
        metavar="N",
        help="frames through the network at once (default: 2 on a CPU, 8 on a GPU)",
    )
    parser.add_argument("--engine", choices=get_args(EngineName), default="auto")
    parser.add_argument(
        "--frames", type=_frames, metavar="A:B", help="only frames A to B-1 (default: all)"
    )
    parser.add_argument("--max-individuals", type=positive, metavar="N")
    parser.add_argument(
        "--conditions",
        type=Path,
        metavar="FILE|BUNDLE",
        help="poses for a conditional top-down bundle to refine: a .h5, .json or "
        "_assemblies.pickle of the video, or a bundle that finds them (default: the bundle's own "
        "conditions model)",
    )
    parser.add_argument("--csv", action="store_true", help="write a .csv too")
    parser.add_argument("--labeled-video", action="store_true", help="write a labelled .mp4 too")
    parser.add_argument("--pcutoff", type=float, default=0.6, help="of the labelled video")
    parser.add_argument("--overwrite", action="store_true", help="replace existing results")
    parser.add_argument("--json", action="store_true", help="print the run reports as JSON lines")


def run(arguments: argparse.Namespace) -> int:
    """Run the verb."""
    from dlc_deploy.runtime.estimator import load
    from dlc_deploy.runtime.parallel import Parallelism

    _refuse_same_results(arguments.videos, arguments.output)
    finder = arguments.conditions if _is_bundle(arguments) else None
    with load(
        arguments.bundle,
        device=arguments.device,
        engine=arguments.engine,
        max_individuals=arguments.max_individuals,
        parallelism=Parallelism.for_throughput(arguments.device),
        conditions=finder,
    ) as estimator:
        refused = []
        for video in arguments.videos:
            try:
                report = _analyze(arguments, estimator, video)
            except InputError as error:
                if len(arguments.videos) == 1:
                    raise
                # The others may be whole: nobody wants to find that out the morning after.
                print(f"not analysed: {error}", file=sys.stderr)
                refused.append(video.name)
                continue
            print(report.model_dump_json() if arguments.json else _summary(report), flush=True)
    if refused:
        raise InputError(
            f"{len(refused)} of {len(arguments.videos)} videos were not analysed, for the reasons "
            f"above: {', '.join(refused)}. The results of the others are whole."
        )
    return 0


def _is_bundle(arguments: argparse.Namespace) -> bool:
    """Whether ``--conditions`` names a bundle; a file is of one video only."""
    path, videos = arguments.conditions, arguments.videos
    if path is None or path.is_dir():
        return path is not None
    if len(videos) > 1:
        raise UsageError(
            f"Expected one video with the conditions of {path}, got {len(videos)}: a file holds "
            "the poses of one video. Analyse them one by one, or give a bundle."
        )
    return False


def _refuse_same_results(videos: list[Path], output: Path | None) -> None:
    """Two videos of one name would write the same files, and the later one would win."""
    first: dict[Path, Path] = {}
    for video in videos:
        results = (output or video.parent).absolute() / video.stem
        if results in first:
            raise UsageError(
                f"{first[results]} and {video}: expected videos with results of their own, but "
                "these two would write the same files. Analyse them with an -o for each."
            )
        first[results] = video


def _analyze(arguments: argparse.Namespace, estimator: Estimator, video: Path) -> RunReport:
    from dlc_deploy.runtime.analysis import analyze_video
    from dlc_deploy.runtime.progress import video_progress

    with video_progress(video.name, quiet=not sys.stderr.isatty()) as progress:
        return analyze_video(
            estimator,
            video,
            output=arguments.output,
            frames=arguments.frames,
            batch=arguments.batch,
            csv=arguments.csv,
            labeled_video=arguments.labeled_video,
            pcutoff=arguments.pcutoff,
            overwrite=arguments.overwrite,
            conditions=None if _is_bundle(arguments) else arguments.conditions,
            progress=progress,
        )


def _summary(report: RunReport) -> str:
    missing = f", {len(report.missing)} without a pose" if report.missing else ""
    warnings = "".join(f"\n  {warning}" for warning in report.warnings)
    names = "".join(f"\n  {name}" for name in report.outputs)
    return (
        f"{report.video.name}: {report.frames_analyzed} frames{missing} "
        f"at {report.frames_per_second:.1f} frames/s{warnings}{names}"
    )


def _frames(text: str) -> tuple[int, int | None]:
    start, colon, stop = text.partition(":")
    numbers = (start or "0", stop or "0")
    if not colon or not all(number.isdecimal() for number in numbers):
        raise argparse.ArgumentTypeError(f"expected A:B, A: or :B in whole numbers, got {text!r}")
    first, last = int(start or 0), int(stop) if stop else None
    if last is not None and last <= first:
        raise argparse.ArgumentTypeError(f"expected A < B, got {text!r}")
    return first, last
