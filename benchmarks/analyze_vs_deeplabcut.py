"""How much faster than DeepLabCut a video is analysed: both run in turns, on one machine.

    python -m dlc_deploy.benchmarks.analyze_vs_deeplabcut \
        --deeplabcut .venv-deeplabcut/bin/python --project PROJECT --video VIDEO --frames 200

Each round runs, for each shuffle and batch size, DeepLabCut's ``analyze_videos`` in its own
environment and ``dlc-analyze``, each in a new process and in swapped order every other round; and
the decoding and the networks of our analysis on their own. What both wrote in the first round is
compared by DeepLabCut's interpreter.
Results go to ``benchmarks/results`` as .json (every run) and .md (medians).
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from dlc_deploy.bundle import Bundle
from dlc_deploy.errors import DlcDeployError, InputError

from .comparison import Run, as_json, as_markdown
from .contestants import (
    Task,
    compare_results,
    export_bundle,
    run_deeplabcut,
    run_ours,
    run_parts,
)
from .machine import describe_machine, describe_versions

HERE = Path(__file__).resolve().parent


def main() -> int:
    """Measure, write, and show."""
    arguments = _parse()
    try:
        with tempfile.TemporaryDirectory() as folder:
            tasks = _tasks(arguments, Path(folder))
            runs: list[Run] = []
            agreement = []
            for number in range(1, arguments.rounds + 1):
                for task in tasks:
                    runs += _round(task, number)
                    if number == 1:  # at once: a long measurement of wrong results is lost time
                        agreement.append(compare_results(task))
        text = _write(arguments, tasks, runs, agreement)
    except DlcDeployError as error:
        print(error, file=sys.stderr)
        return error.exit_status
    print(text)
    return 0


def _parse() -> argparse.Namespace:
    reference = os.environ.get("DLC_DEPLOY_REFERENCE", HERE.parents[1] / "shared" / "reference")
    python = HERE.parent / ".venv-deeplabcut" / "bin" / "python"
    parser = argparse.ArgumentParser(description="Compare our analysis of a video to DeepLabCut's.")
    parser.add_argument(
        "--deeplabcut", type=Path, default=python, help="Python in which DeepLabCut is installed"
    )
    parser.add_argument(
        "--project", type=Path, default=Path(reference, "openfield"), help="DeepLabCut project"
    )
    parser.add_argument("--video", type=Path, help="default: the first one of the project")
    parser.add_argument("--frames", type=int, default=200, help="from its start (default: 200)")
    parser.add_argument("--shuffles", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--batches", type=int, nargs="+", default=[1, 8])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument(
        "--bundle",
        action="append",
        default=[],
        type=_shuffle_and_folder,
        metavar="SHUFFLE=DIR",
        help="a bundle of this shuffle; without one, it is exported first",
    )
    parser.add_argument("--name", default="analyze_vs_deeplabcut", help="of the result files")
    parser.add_argument("--results", type=Path, default=HERE / "results", help="their folder")
    return parser.parse_args()


def _shuffle_and_folder(text: str) -> tuple[int, Path]:
    shuffle, _, folder = text.partition("=")
    if not shuffle.isdecimal() or not folder:
        raise argparse.ArgumentTypeError(f"expected SHUFFLE=DIR as in 1=mouse, got {text!r}")
    return int(shuffle), Path(folder)


def _tasks(arguments: argparse.Namespace, folder: Path) -> list[Task]:
    video = _check_inputs(arguments)
    config, bundles = arguments.project / "config.yaml", dict(arguments.bundle)
    for shuffle in arguments.shuffles:
        if shuffle not in bundles:
            _tell(f"exporting shuffle {shuffle}")
            bundles[shuffle] = export_bundle(config, shuffle, folder / f"bundle{shuffle}")
    return [
        Task(
            deeplabcut=arguments.deeplabcut,
            config=config,
            shuffle=shuffle,
            bundle=Bundle.open(bundles[shuffle]),
            batch=batch,
            video=video,
            frames=arguments.frames,
            folder=folder / f"{shuffle}-{batch}",
        )
        for shuffle in arguments.shuffles
        for batch in arguments.batches
    ]


def _check_inputs(arguments: argparse.Namespace) -> Path:
    """The video, when everything is where it should be."""
    videos = sorted((arguments.project / "videos").glob("*.*"))
    video: Path = arguments.video or (videos[0] if videos else arguments.project / "videos")
    for path, what in (
        (arguments.deeplabcut, "the Python of DeepLabCut's environment; give --deeplabcut"),
        (arguments.project / "config.yaml", "a DeepLabCut project; give --project"),
        (video, "a video; give --video"),
    ):
        if not path.is_file():
            raise InputError(f"{path}: expected {what}. No such file.")
    return video


def _round(task: Task, number: int) -> Iterator[Run]:
    contestants = (run_deeplabcut, run_ours) if number % 2 else (run_ours, run_deeplabcut)
    for contestant in contestants:
        run = contestant(task, number)
        _tell(
            f"round {number}, {task.setting.model}, batch {task.batch}: {run.program} "
            f"{run.frames_per_second:.2f} frames/s"
        )
        yield run
    yield from run_parts(task, number)


def _write(
    arguments: argparse.Namespace, tasks: list[Task], runs: list[Run], agreement: list[Any]
) -> str:
    """Write both files; the text of the second is returned. No path of this machine is in them."""
    date = datetime.date.today().isoformat()
    bundles = {task.setting.model: task.bundle.manifest.fingerprint for task in tasks}
    facts = {
        "title": "Video analysis against DeepLabCut on the CPU",
        "date": date,
        "machine": describe_machine(),
        "versions": describe_versions(),
        "deeplabcut_versions": agreement[0].pop("versions"),
        "configuration": {
            "video": tasks[0].video.name,
            "frames": arguments.frames,
            "rounds": arguments.rounds,
            "threads": "each program's own choice",
        },
        "bundles": bundles,
        "agreement": agreement,
    }
    path = arguments.results / f"{date}_cpu_{arguments.name}"
    path.parent.mkdir(parents=True, exist_ok=True)
    content = json.dumps(as_json(runs, facts), indent=1)
    path.with_suffix(".json").write_text(content + "\n", encoding="utf-8")
    text = as_markdown(runs, facts)
    path.with_suffix(".md").write_text(text, encoding="utf-8")
    return text


def _tell(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
