"""``dlc-deploy demo [DIR]``: the whole way, from a drawn video to poses whose error is known.

    DIR/
        mouse.mp4                 the drawn video, and its truth in mouse_truth.csv
        dlc-models-pytorch/...    snapshot and pytorch_config.yaml, where DeepLabCut puts them
        bundle/                   what dlc-export makes of the snapshot
        results/                  what dlc-analyze makes of the bundle and the video
        demo.json                 the errors; it marks DIR as a demo

All of it appears when the demo has passed; before, it lies in a hidden folder inside DIR.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    from numpy.typing import NDArray

    from .drawn import Drawing

DESCRIPTION = (
    "Draw a labelled video of a mouse, train a small network on other drawings, export it, analyse "
    "the video, and show the error against the known truth. Takes about two minutes on two cores; "
    "on one machine, the same seed gives the same numbers."
)
LIMIT_PX = 2.0
"""Largest median error of a demo that passes, on frames of 256 x 256 pixels."""

_STEPS = 800
_NEEDED = ("torch", "torchvision", "timm", "onnx", "onnxscript", "onnxruntime")
_RESULT, _PARTIAL = "demo.json", ".partial"
_BUNDLE, _RESULTS, _VIDEO, _TRUTH = "bundle", "results", "mouse.mp4", "mouse_truth.csv"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the verb's arguments."""
    parser.add_argument(
        "folder", type=Path, nargs="?", default=Path("demo"), metavar="DIR", help="default: demo"
    )
    parser.add_argument(
        "--steps", type=_from(1), default=_STEPS, help=f"of training (default: {_STEPS})"
    )
    parser.add_argument(
        "--frames", type=_from(1), default=150, help="of the analysed video (default: 150)"
    )
    parser.add_argument(
        "--seed", type=_from(0), default=0, help="of drawing and training (default: 0)"
    )
    parser.add_argument("--overwrite", action="store_true", help="replace an earlier demo in DIR")
    parser.add_argument("--json", action="store_true", help="print the result as JSON")


def run(arguments: argparse.Namespace) -> int:
    """Run the verb."""
    _require_packages()
    _check_folder(arguments.folder, arguments.overwrite)
    began = time.perf_counter()
    with _building(arguments.folder) as build:
        result = _demonstrate(build, arguments)
        result["seconds"] = round(time.perf_counter() - began, 1)
        _judge(result)
        text = json.dumps(result, indent=2)
        (build / _RESULT).write_text(text + "\n", encoding="utf-8")
    if arguments.json:
        print(text)
    else:
        _show(result, arguments.folder)
    return 0


def _require_packages() -> None:
    """Before a minute of training, not after it."""
    from importlib.util import find_spec

    from dlc_deploy.errors import UnavailableError

    missing = [name for name in _NEEDED if find_spec(name) is None]
    if missing:
        raise UnavailableError(
            f"The demo trains and exports; it needs {', '.join(missing)}, which is not installed. "
            "Install it: pip install 'dlc-deploy[export,cpu]'."
        )


def _check_folder(folder: Path, overwrite: bool) -> None:
    from dlc_deploy.errors import InputError

    if not folder.exists():
        return
    if not folder.is_dir():
        raise InputError(f"{folder}: expected a folder, found a file. Give another DIR.")
    others = sorted(path.name for path in folder.iterdir() if path.name != _PARTIAL)
    if others and _RESULT not in others:
        raise InputError(
            f"{folder}: expected a new or empty folder, or an earlier demo, found other files "
            f"({others[0]}, for one). They are left alone: give another DIR."
        )
    if others and not overwrite:
        raise InputError(
            f"{folder}: an earlier demo is there already. Pass --overwrite to replace it, or give "
            "another DIR."
        )


def _demonstrate(build: Path, arguments: argparse.Namespace) -> dict[str, Any]:
    """All steps; what they wrote is in ``build``."""
    from .demo_model import FRAME_SIZE, train, training_frames
    from .drawn import draw_animal

    steps, seed = arguments.steps, arguments.seed
    _tell(f"1/5 drawing {_VIDEO}: {arguments.frames} frames of {FRAME_SIZE} x {FRAME_SIZE} pixels")
    drawing = draw_animal(arguments.frames, FRAME_SIZE, seed)
    _write_drawing(drawing, build)
    _tell("2/5 drawing other walks to train on")
    frames, labels = training_frames(steps, seed)
    _tell(f"3/5 training from scratch on {len(frames)} frames, {steps} steps")
    with _training_progress(steps) as progress:
        snapshot = train(frames, labels, steps=steps, seed=seed, folder=build, progress=progress)
    table = _export_and_analyze(snapshot, build)
    return {
        "seed": seed,
        "steps": steps,
        "training_frames": len(frames),
        "frames": len(table),
        "snapshot": snapshot.relative_to(build).as_posix(),
        "error_px": _errors(table, drawing),
    }


def _write_drawing(drawing: Drawing, build: Path) -> None:
    import pandas as pd

    from .drawn import KEYPOINTS, write_video

    write_video(drawing.frames, build / _VIDEO)
    columns = pd.MultiIndex.from_product([KEYPOINTS, ["x", "y"]], names=["bodyparts", "coords"])
    truth = pd.DataFrame(drawing.keypoints.reshape(len(drawing.keypoints), -1), columns=columns)
    truth.to_csv(build / _TRUTH)


def _export_and_analyze(snapshot: Path, build: Path) -> pd.DataFrame:
    """The three calls that a user needs; returns what the .h5 holds."""
    import pandas as pd

    import dlc_deploy
    from dlc_deploy.runtime.progress import video_progress

    video, results = build / _VIDEO, build / _RESULTS
    _tell("4/5 exporting the snapshot, and comparing ONNX Runtime with PyTorch")
    dlc_deploy.export(snapshot, calibration=video, output=build / _BUNDLE)
    _tell(f"5/5 analysing {_VIDEO}")
    quiet = not sys.stderr.isatty()
    with (
        dlc_deploy.load(build / _BUNDLE) as pose,
        video_progress(_VIDEO, quiet=quiet) as progress,
    ):
        dlc_deploy.analyze_video(
            pose, video, output=results, csv=True, labeled_video=True, progress=progress
        )
    (h5,) = results.glob("*.h5")
    table = pd.read_hdf(h5)
    assert isinstance(table, pd.DataFrame)
    return table


def _errors(table: pd.DataFrame, drawing: Drawing) -> dict[str, dict[str, float]]:
    """Median and 95th percentile of the distances to the truth, of all and of each bodypart."""
    import numpy as np

    from .drawn import KEYPOINTS

    found = table.to_numpy(float).reshape(len(table), len(KEYPOINTS), 3)
    distances = np.linalg.norm(found[..., :2] - drawing.keypoints, axis=-1)
    parts = {name: distances[:, place] for place, name in enumerate(KEYPOINTS)}
    return {name: _summary(values) for name, values in {"all": distances, **parts}.items()}


def _summary(distances: NDArray[np.float64]) -> dict[str, float]:
    import numpy as np

    median, high = np.percentile(distances, [50, 95])
    return {"median": round(float(median), 3), "p95": round(float(high), 3)}


def _judge(result: dict[str, Any]) -> None:
    from dlc_deploy.errors import VerificationError

    median = result["error_px"]["all"]["median"]
    if not median <= LIMIT_PX:  # not a number is a failure too
        raise VerificationError(
            f"Expected a median error of at most {LIMIT_PX:g} px against the truth, got {median} "
            f"px after {result['steps']} steps of training. Nothing was kept. Train longer: "
            f"--steps {max(_STEPS, 2 * result['steps'])}."
        )


def _show(result: dict[str, Any], folder: Path) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table(title="distance to the known truth, in pixels")
    for heading in ("bodypart", "median", "95th percentile"):
        table.add_column(heading, justify="left" if heading == "bodypart" else "right")
    for name, error in result["error_px"].items():
        table.add_row(
            name, f"{error['median']:.2f}", f"{error['p95']:.2f}", end_section=name == "all"
        )
    labeled = next((folder / _RESULTS).glob("*_labeled.mp4"))
    console = Console(soft_wrap=True, highlight=False, markup=False)
    console.print(table)
    console.print(
        f"Of {result['frames']} frames of a walk that training never saw: the "
        f"{result['training_frames']} frames it learnt from are of other walks, on other floors.\n"
        f"Done in {result['seconds']:.0f} s. What lies where:\n"
        f"  video     {folder / _VIDEO}, its truth in {folder / _TRUTH}\n"
        f"  snapshot  {folder / result['snapshot']}\n"
        f"  bundle    {folder / _BUNDLE}\n"
        f"  results   {folder / _RESULTS}: .h5, .csv, .pickle, .run.json, and to watch\n"
        f"            {labeled}\n"
        f"next: dlc-analyze {folder / _BUNDLE} VIDEO    another video of this mouse\n"
        "      dlc-export SNAPSHOT -o BUNDLE    a bundle of your own DeepLabCut model"
    )


@contextmanager
def _training_progress(steps: int) -> Iterator[Callable[[int, float], None]]:
    """A bar on standard error with the loss; nothing when that is not a terminal."""
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
    )

    bar = Progress(
        TextColumn("training"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("loss {task.fields[loss]}"),
        TimeRemainingColumn(),
        console=Console(stderr=True),
        disable=not sys.stderr.isatty(),
    )
    task = bar.add_task("training", total=steps, loss="")
    with bar:
        yield lambda step, loss: bar.update(task, completed=step, loss=f"{loss:.4f}")


@contextmanager
def _building(folder: Path) -> Iterator[Path]:
    """A hidden folder in ``folder``; what is in it moves up when all went well."""
    build, existed = folder / _PARTIAL, folder.exists()
    try:
        _make_anew(build)
        yield build
        for new in sorted(build.iterdir()):
            shutil.rmtree(folder / new.name, ignore_errors=True)
            new.replace(folder / new.name)
    finally:
        shutil.rmtree(build, ignore_errors=True)
        if not existed and folder.exists() and not any(folder.iterdir()):
            folder.rmdir()


def _make_anew(build: Path) -> None:
    from dlc_deploy.errors import InputError

    shutil.rmtree(build, ignore_errors=True)
    try:
        build.mkdir(parents=True)
    except OSError as error:
        raise InputError(
            f"{build.parent}: expected a place to write the demo, got: {error.strerror}. "
            "Give another DIR."
        ) from error


def _tell(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def _from(least: int) -> Callable[[str], int]:
    def parse(text: str) -> int:
        if not text.isdecimal() or int(text) < least:
            raise argparse.ArgumentTypeError(
                f"expected a whole number from {least} on, got {text!r}"
            )
        return int(text)

    return parse
