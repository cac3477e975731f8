"""DeepLabCut's own analysis of a video, timed; run by the Python in which DeepLabCut is installed.

    .venv-deeplabcut/bin/python benchmarks/peers/deeplabcut_analyze.py PROJECT/config.yaml VIDEO \
        --shuffle 1 --frames 200 --batch 8 --output RESULTS

``--mode analyze`` calls ``deeplabcut.analyze_videos`` as a user does. ``--mode inference`` builds
the runners first and calls ``video_inference`` alone; it writes no files. The project is left as it
is: what is needed of it is copied to a temporary folder.

Standard output is one line, a JSON object: what was asked for, ``frames`` analysed, ``scorer``,
``output``, ``versions``, and a wall and a processor time (of all threads) for each part:

    import      of deeplabcut
    call        the whole of analyze_videos, from loading the model to the written files
    inference   video_inference: decoding, networks and poses; in analyze mode a part of ``call``
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import re
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stdout
from importlib import import_module
from importlib.metadata import version
from pathlib import Path
from typing import Any

PACKAGES = ("deeplabcut", "torch", "torchvision", "timm", "numpy", "opencv-python-headless")
VIDEOS = "deeplabcut.pose_estimation_pytorch.apis.videos"
Times = dict[str, dict[str, float]]


def main() -> None:
    """Analyse and print."""
    arguments = _parse()
    if arguments.threads:
        # Read by OpenMP when torch is imported; the same number for its other pools.
        os.environ["OMP_NUM_THREADS"] = str(arguments.threads)
    times: Times = {}
    with redirect_stdout(sys.stderr), tempfile.TemporaryDirectory() as folder:
        config = _copy_project(arguments.config, arguments.shuffle, Path(folder))
        with _timed(times, "import"):
            import_module("deeplabcut")
        torch: Any = import_module("torch")
        videos: Any = import_module(VIDEOS)
        if arguments.threads:
            torch.set_num_threads(arguments.threads)
        if arguments.frames is not None:
            videos.VideoIterator = _first_frames(videos.VideoIterator, arguments.frames)
        run = {"analyze": _analyze, "inference": _infer}[arguments.mode]
        result = run(config, videos, arguments, times)
        result["threads"] = torch.get_num_threads()
    asked = {name: getattr(arguments, name) for name in ("mode", "shuffle", "batch", "device")}
    versions = {name: version(name) for name in PACKAGES} | {"python": platform.python_version()}
    print(json.dumps(asked | result | {"seconds": times, "versions": versions}))


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Time DeepLabCut's own analysis of a video.")
    parser.add_argument("config", type=Path, help="config.yaml of a DeepLabCut project")
    parser.add_argument("video", type=Path)
    parser.add_argument("--shuffle", type=int, default=1)
    parser.add_argument("--frames", type=int, help="stop after so many (default: all)")
    parser.add_argument("--batch", type=int, default=1, help="of the pose model and the detector")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--threads", type=int, help="of torch (default: torch decides)")
    parser.add_argument("--mode", choices=("analyze", "inference"), default="analyze")
    parser.add_argument("--output", type=Path, help="folder for the files of analyze mode")
    arguments = parser.parse_args()
    if (arguments.mode == "analyze") != (arguments.output is not None):
        parser.error("--output is needed for --mode analyze, and only there")
    for file in (arguments.config, arguments.video):
        if not file.is_file():
            parser.error(f"expected a file, found none at {file}")
    return arguments


def _copy_project(config: Path, shuffle: int, folder: Path) -> Path:
    """Copy the configuration and one shuffle's models; a stale project_path is set right.

    Files are copied without their modes, so that a read-only project becomes a writable copy.
    """
    models = sorted(config.parent.glob(f"dlc-models-pytorch/iteration-*/*shuffle{shuffle}/t*/*"))
    if not models:
        raise SystemExit(
            f"{config.parent}: expected dlc-models-pytorch/iteration-*/*shuffle{shuffle}, found "
            "none. Choose another --shuffle."
        )
    for file in models:
        copy = folder / file.relative_to(config.parent)
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(file, copy)
    text = re.sub(r"(?m)^project_path:.*$", f"project_path: {folder}", config.read_text())
    (folder / config.name).write_text(text)
    return folder / config.name


def _first_frames(iterator: Any, limit: int) -> Any:
    """DeepLabCut's video iterator, ending after ``limit`` frames; the video stays as it is."""

    class FirstFrames(iterator):  # type: ignore[misc]
        _index: int

        def __next__(self) -> Any:
            if self._index >= limit:
                self._index = 0
                self.reset()
                raise StopIteration
            return super().__next__()

        def get_n_frames(self, robust: bool = False) -> int:
            return min(limit, int(super().get_n_frames(robust)))

    return FirstFrames


def _analyze(
    config: Path, videos: Any, arguments: argparse.Namespace, times: Times
) -> dict[str, Any]:
    deeplabcut = import_module("deeplabcut")
    counts: list[int] = []
    videos.video_inference = _counted(videos.video_inference, times, counts)
    arguments.output.mkdir(parents=True, exist_ok=True)
    with _timed(times, "call"):
        scorer = deeplabcut.analyze_videos(
            str(config),
            [str(arguments.video)],
            shuffle=arguments.shuffle,
            destfolder=str(arguments.output),
            batch_size=arguments.batch,
            detector_batch_size=arguments.batch,
            device=arguments.device,
            engine=deeplabcut.Engine.PYTORCH,
            overwrite=True,
        )
    return {"frames": sum(counts), "scorer": scorer, "output": str(arguments.output.resolve())}


def _infer(
    config: Path, videos: Any, arguments: argparse.Namespace, times: Times
) -> dict[str, Any]:
    pose, detector = _build_runners(config, videos, arguments)
    counts: list[int] = []
    _counted(videos.video_inference, times, counts)(
        str(arguments.video), pose_runner=pose, detector_runner=detector
    )
    return {"frames": sum(counts)}


def _build_runners(config: Path, videos: Any, arguments: argparse.Namespace) -> tuple[Any, Any]:
    """The runners of the project's default snapshots; the detector's is None for bottom-up."""
    api, task = videos.utils, videos.Task
    loader = videos.DLCLoader(config, shuffle=arguments.shuffle)
    pose_index, detector_index = api.parse_snapshot_index_for_analysis(
        loader.project_cfg, loader.model_cfg, None, None
    )
    common = {
        "model_config": loader.model_cfg,
        "batch_size": arguments.batch,
        "device": arguments.device,
        "max_individuals": len(loader.model_cfg["metadata"]["individuals"]),
    }
    folder = loader.model_folder
    snapshot = api.get_model_snapshots(pose_index, folder, loader.pose_task)[0]
    pose = api.get_pose_inference_runner(snapshot_path=snapshot.path, **common)
    if loader.pose_task != task.TOP_DOWN:
        return pose, None
    snapshot = api.get_model_snapshots(detector_index, folder, task.DETECT)[0]
    return pose, api.get_detector_inference_runner(snapshot_path=snapshot.path, **common)


def _counted(
    inference: Callable[..., list[Any]], times: Times, counts: list[int]
) -> Callable[..., list[Any]]:
    def run(*values: Any, **options: Any) -> list[Any]:
        with _timed(times, "inference"):
            predictions = inference(*values, **options)
        counts.append(len(predictions))
        return predictions

    return run


@contextmanager
def _timed(times: Times, name: str) -> Iterator[None]:
    wall, processor = time.perf_counter(), time.process_time()
    yield
    times[name] = {
        "wall": round(time.perf_counter() - wall, 4),
        "processor": round(time.process_time() - processor, 4),
    }


if __name__ == "__main__":
    main()
