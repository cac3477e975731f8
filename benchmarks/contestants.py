"""What takes part in the comparison with DeepLabCut: both programs, and ours in parts."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dlc_deploy.bundle import Bundle
from dlc_deploy.errors import DlcDeployError, InputError

from .bounds import Rate, read_frames, time_decoding, time_network
from .comparison import Program, Run, Setting
from .process import Finished, run_process

PEERS = Path(__file__).resolve().parent / "peers"
MOST_FRAMES_FOR_NETWORKS = 64
DIFFERENT = 3


@dataclass(frozen=True, slots=True)
class Task:
    """One model and batch size.

    Attributes:
        deeplabcut: the Python in which DeepLabCut is installed.
        config: config.yaml of the project.
        frames: analyse so many from the start of the video.
        folder: where the results of both go.
    """

    deeplabcut: Path
    config: Path
    shuffle: int
    bundle: Bundle
    batch: int
    video: Path
    frames: int
    folder: Path

    @property
    def setting(self) -> Setting:
        """The model's and batch's names in reports."""
        manifest = self.bundle.manifest
        return Setting(manifest.net_type + (" + detector" if manifest.detector else ""), self.batch)


def export_bundle(config: Path, shuffle: int, output: Path) -> Path:
    """Export what DeepLabCut would analyse with: the last snapshots of a shuffle."""
    folders = sorted(config.parent.glob(f"dlc-models-pytorch/iteration-*/*shuffle{shuffle}/train"))
    snapshots = [path for folder in folders[-1:] for path in folder.glob("snapshot-*.pt")]
    detectors = [path for path in snapshots if path.name.startswith("snapshot-detector-")]
    poses = [path for path in snapshots if path not in detectors]
    if not poses:
        raise InputError(
            f"{config.parent}: expected a snapshot of shuffle {shuffle}, found none. "
            "Choose other --shuffles."
        )
    command = ["export", str(max(poses, key=_place)), "-o", str(output)]
    if detectors:
        command += ["--detector", str(max(detectors, key=_place))]
    run_process([sys.executable, "-m", "dlc_deploy.command", *command])
    return output


def _place(snapshot: Path) -> tuple[bool, int]:
    """DeepLabCut's order: by epoch, but the best one is last."""
    return "best" in snapshot.stem, int(snapshot.stem.rpartition("-")[2])


def run_deeplabcut(task: Task, number: int) -> Run:
    """``deeplabcut.analyze_videos`` in a new process; ``number`` is the round."""
    program = str(PEERS / "deeplabcut_analyze.py")
    command = [str(task.deeplabcut), program, str(task.config), str(task.video)]
    command += ["--shuffle", str(task.shuffle), "--frames", str(task.frames)]
    command += ["--batch", str(task.batch), "--output", str(task.folder / "theirs")]
    finished = run_process(command)
    report = json.loads(finished.output)
    seconds = report["seconds"]["inference"]["wall"]
    return _run("deeplabcut", task, number, finished, report["frames"], seconds, {})


def run_ours(task: Task, number: int) -> Run:
    """``dlc-analyze`` in a new process."""
    command = ["analyze", str(task.bundle.path), str(task.video), "--frames", f"0:{task.frames}"]
    command += ["--batch", str(task.batch), "-o", str(task.folder / "ours"), "--overwrite"]
    finished = run_process([sys.executable, "-m", "dlc_deploy.command", *command, "--json"])
    report = json.loads(finished.output)
    seconds, frames = report["wall_seconds"], report["frames_analyzed"]
    stages = {name: stage["busy_seconds"] for name, stage in report["stages"].items()}
    return _run("dlc-analyze", task, number, finished, frames, seconds, stages)


def run_parts(task: Task, number: int) -> list[Run]:
    """Our decoding and our networks, each on its own, in this process."""
    frames = read_frames(task.video, min(task.frames, MOST_FRAMES_FOR_NETWORKS))
    parts: dict[Program, Callable[[], Rate]] = {
        "decoding": lambda: time_decoding(task.video, task.frames),
        "network": lambda: time_network(task.bundle, frames, task.batch),
    }
    runs = []
    for program, measure in parts.items():
        load, rate = os.getloadavg()[0], measure()
        runs.append(Run(program, task.setting, number, rate.frames, rate.seconds, load))
    return runs


def compare_results(task: Task) -> dict[str, Any]:
    """What DeepLabCut's interpreter says of the files that both wrote last."""
    files = [_only_h5(task.folder / name) for name in ("ours", "theirs")]
    program = str(PEERS / "deeplabcut_reads.py")
    command = [str(task.deeplabcut), program, *map(str, files)]
    report = json.loads(run_process(command, accepted=(0, DIFFERENT)).output)
    wanted = ("layout", "frames", "above", "score", "missing", "versions")
    setting = {"model": task.setting.model, "batch": task.setting.batch}
    return setting | {name: report[name] for name in wanted}


def _run(
    program: Program,
    task: Task,
    number: int,
    finished: Finished,
    frames: int,
    seconds: float,
    stages: dict[str, float],
) -> Run:
    return Run(
        program=program,
        setting=task.setting,
        round=number,
        frames=frames,
        seconds=seconds,
        load_average=finished.load_average,
        command_seconds=finished.seconds,
        processor_seconds=finished.processor_seconds,
        others_cores=finished.others_cores,
        stages=stages,
    )


def _only_h5(folder: Path) -> Path:
    files = sorted(folder.glob("*.h5"))
    if len(files) != 1:
        raise DlcDeployError(f"{folder}: expected one .h5 of the analysis, found {len(files)}.")
    return files[0]
