"""``dlc-deploy inspect FILE``: what a bundle, a snapshot or a video holds."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from dlc_deploy.errors import BundleError, InputError

DESCRIPTION = "Show what a bundle, a snapshot or a video holds."


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the verb's arguments."""
    parser.add_argument("path", type=Path, metavar="BUNDLE|SNAPSHOT|VIDEO")
    parser.add_argument("--json", action="store_true", help="print the result as JSON")


def run(arguments: argparse.Namespace) -> int:
    """Run the verb."""
    facts = _facts(arguments.path)
    if arguments.json:
        print(json.dumps(facts, default=str))
        return 0
    from rich.table import Table
    from rich.text import Text

    from dlc_deploy.runtime.console import print_table

    table = Table(title=Text(str(arguments.path)), show_header=False)
    for name, value in facts.items():
        table.add_row(name, _readable(value))
    print_table(table)
    return 0


def _facts(path: Path) -> dict[str, Any]:
    if path.is_dir():
        return _bundle_facts(path)
    if not path.exists():
        raise InputError(f"{path}: expected a bundle, snapshot or video, found nothing there.")
    if path.suffix in (".pt", ".pth"):
        return _snapshot_facts(path)
    return _video_facts(path)


def _bundle_facts(path: Path) -> dict[str, Any]:
    from dlc_deploy.bundle import PARITY, Bundle

    bundle = Bundle.open(path)
    sizes = {name: (path / name).stat().st_size for name in bundle.manifest.files}
    facts = bundle.manifest.model_dump(mode="json", exclude={"files"}, exclude_none=True)
    return {"kind": "bundle"} | facts | {"bytes": sizes, "parity": _parity(path / PARITY)}


def _parity(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))["graphs"]
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise BundleError(
            f"{path}: expected a parity report with its graphs, got: {error}. "
            "Copy the whole folder again, or export the snapshot again."
        ) from error


def _snapshot_facts(path: Path) -> dict[str, Any]:
    """A snapshot needs torch to be read, which the runtime does not have."""
    from importlib import import_module

    from dlc_deploy.errors import UnavailableError

    try:
        snapshots = import_module("dlc_deploy.training.snapshots")
    except ModuleNotFoundError as error:
        raise UnavailableError(
            f"{path}: reading a snapshot needs {error.name}, which is not installed. "
            "Install it: pip install 'dlc-deploy[export,cpu]'."
        ) from error
    snapshot = snapshots.load_snapshot(path)
    parameters = sum(tensor.numel() for tensor in snapshot.model.values())
    return {
        "kind": "snapshot",
        "tensors": len(snapshot.model),
        "parameters": parameters,
        "metadata": snapshot.metadata,
        "has detector": snapshot.detector is not None,
        "net_type": (snapshot.config or {}).get("net_type"),
    }


def _video_facts(path: Path) -> dict[str, Any]:
    from dataclasses import asdict

    from dlc_deploy.runtime.video.reader import probe

    return {"kind": "video"} | {
        name: str(value) if isinstance(value, Path) else value
        for name, value in asdict(probe(path)).items()
    }


def _readable(value: Any) -> str:
    if isinstance(value, dict):
        return "\n".join(f"{name}: {_readable(item)}" for name, item in value.items())
    if isinstance(value, list):
        return ", ".join(map(str, value))
    if isinstance(value, float):
        return f"{value:.6g}"
    return str(value)
