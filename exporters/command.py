"""``dlc-export SNAPSHOT``: make a bundle."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, get_args

from dlc_deploy.arguments import needing
from dlc_deploy.choices import ExportFormat, Precision
from dlc_deploy.registration import add_register_argument, register_models

if TYPE_CHECKING:
    from dlc_deploy.bundle import Bundle

DESCRIPTION = "Turn a DeepLabCut 3 snapshot (and its detector's) into a bundle that runs anywhere."


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the verb's arguments."""
    parser.add_argument(
        "snapshot",
        type=Path,
        help="snapshot-NNN.pt, the file of DeepLabCut's export_model, or a model of its zoo "
        "(modelzoo:superanimal_quadruped[/POSE_MODEL[+DETECTOR]])",
    )
    parser.add_argument("--detector", type=Path, help="detector snapshot of a top-down model")
    parser.add_argument(
        "--conditions",
        type=Path,
        metavar="SNAPSHOT",
        help="bottom-up snapshot whose poses a conditional top-down model refines",
    )
    parser.add_argument(
        "--config", type=Path, help="default: pytorch_config.yaml beside the snapshot"
    )
    parser.add_argument("--format", choices=get_args(ExportFormat), default="onnx")
    parser.add_argument("--precision", choices=get_args(Precision), default="fp32")
    parser.add_argument(
        "--size",
        type=_size,
        default="dynamic",
        metavar="HxW|dynamic",
        help="input of a bottom-up model whose configuration leaves it free (default: dynamic)",
    )
    parser.add_argument("--max-individuals", type=int, metavar="N", help="animals in a frame")
    parser.add_argument(
        "--calibration",
        type=Path,
        metavar="VIDEO|DIR",
        help="frames to compare engines on (default: the project's labelled images)",
    )
    parser.add_argument(
        "--tolerance", type=float, metavar="PX", help="largest allowed difference to PyTorch"
    )
    parser.add_argument("-o", "--output", type=Path, help="default: the snapshot's name, here")
    parser.add_argument("--overwrite", action="store_true", help="replace an existing bundle")
    add_register_argument(parser)
    parser.add_argument("--json", action="store_true", help="print the result as JSON")


def run(arguments: argparse.Namespace) -> int:
    """Run the verb."""
    from rich.console import Console

    with needing("export,cpu", "Exporting"):
        from .export import export

    for source in arguments.register:
        register_models(source)
    console = Console(stderr=True)
    with console.status("starting") as status:
        bundle = export(
            arguments.snapshot,
            detector=arguments.detector,
            conditions=arguments.conditions,
            config=arguments.config,
            format=arguments.format,
            precision=arguments.precision,
            size=arguments.size,
            max_individuals=arguments.max_individuals,
            calibration=arguments.calibration,
            tolerance=arguments.tolerance,
            output=arguments.output,
            overwrite=arguments.overwrite,
            progress=status.update,
        )
    if arguments.json:
        print((bundle.path / "manifest.json").read_text(encoding="utf-8"), end="")
    else:
        _show(bundle)
    return 0


def _show(bundle: Bundle) -> None:
    from rich.console import Console
    from rich.table import Table

    from dlc_deploy.bundle import PARITY

    from .parity import Parity

    parity = Parity.model_validate_json((bundle.path / PARITY).read_text(encoding="utf-8"))
    table = Table(title=f"{parity.engine} against {parity.reference}, {parity.frames_from}")
    for heading in ("graph", "points", "px p50", "px p99", "px max", "score max"):
        table.add_column(heading, justify="left" if heading == "graph" else "right")
    for name, graph in parity.graphs.items():
        numbers = (graph.px_p50, graph.px_p99, graph.px_max, graph.score_max)
        table.add_row(name, str(graph.points), *(f"{number:.1e}" for number in numbers))
    console = Console()
    console.print(table)
    console.print(f"[bold]{bundle.path}[/bold]  {bundle.manifest.scorer}", highlight=False)
    console.print(f"next: dlc-analyze {bundle.path} VIDEO --labeled-video", highlight=False)


def _size(text: str) -> tuple[int, int] | None:
    if text == "dynamic":
        return None
    try:
        height, width = (int(side) for side in text.lower().split("x"))
    except ValueError:
        height = width = 0
    if height <= 0 or width <= 0:
        raise argparse.ArgumentTypeError(f"expected HxW (such as 480x640) or dynamic, got {text!r}")
    return height, width
