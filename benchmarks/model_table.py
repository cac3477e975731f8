"""The table of all models: parameters, ONNX size, parity, CPU time, TensorRT-RTX.

    python -m dlc_deploy.benchmarks.model_table [--names NAME ...] [--json FILE] [--readme]

Measures whatever FILE does not hold yet and writes it there after each model, so that a run may be
interrupted and goes on where it was. Weights are drawn: the figures say what a network costs and
how exactly it is exported, not how well it finds animals.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import traceback
from collections.abc import Callable, Iterable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from dlc_deploy.errors import DlcDeployError, UsageError

from .machine import describe_machine, describe_versions
from .model_figures import TARGET, THREADS, Figures, measure_engine, measure_graph, measure_speed
from .random_models import ANIMALS, BODYPARTS, FRAME, Entry, entries

BEGIN, END = "<!-- models -->", "<!-- /models -->"
README = Path(__file__).resolve().parents[1] / "README.md"
COMMAND = "python -m dlc_deploy.benchmarks.model_table"
DISTURBED = 1.25
"""Clock time over processor time above which others used the machine."""
_HEAD = (
    "model",
    "finds",
    "parameters",
    "ONNX",
    "off PyTorch by (points)",
    "CPU, one image",
    f"TensorRT-RTX for {TARGET.upper()}",
)

Table = dict[str, Figures]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the program; the exit status."""
    options = _parse(arguments)
    try:
        return _run(options)
    except DlcDeployError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_status


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog=COMMAND, description=__doc__.splitlines()[0])
    parser.add_argument("--names", nargs="+", metavar="NAME", help="of models; default: all")
    parser.add_argument(
        "--json", type=Path, metavar="FILE", help="figures measured so far; default: none are kept"
    )
    parser.add_argument(
        "--onnx",
        type=Path,
        metavar="DIR",
        help="keep the ONNX files, and time those that are there",
    )
    parser.add_argument(
        "--speed",
        choices=("missing", "again", "later"),
        default="missing",
        help="time what has no time yet (default), time everything, or leave times for a later run",
    )
    parser.add_argument(
        "--readme", action="store_true", help=f"write the table into {README.name}, between {BEGIN}"
    )
    return parser.parse_args(arguments)


def _run(options: argparse.Namespace) -> int:
    wanted = entries(options.names)
    table = read_table(options.json)
    with ExitStack() as stack:
        folder = options.onnx or Path(stack.enter_context(tempfile.TemporaryDirectory()))
        folder.mkdir(parents=True, exist_ok=True)
        failed = [entry.key for entry in wanted if not _measure(entry, table, folder, options)]
    text = as_markdown(chosen(table, wanted))
    print(text)
    if options.readme:
        write_between_markers(README, as_markdown(chosen(table, entries())))
    if failed:
        print(f"not measured: {'; '.join(failed)}", file=sys.stderr)
    return 1 if failed else 0


def _measure(entry: Entry, table: Table, folder: Path, options: argparse.Namespace) -> bool:
    """Fill one row, step by step; False where a step failed."""
    path = folder / f"{entry.key.replace(', ', '-').replace(' ', '-')}.onnx"
    try:
        for step, measured in _steps(entry, table, path, options.speed):
            _tell(f"{entry.key}: {step}")
            table[entry.key] = measured()
            write_table(options.json, table)
    except Exception:  # One model must not cost the others their hours.
        traceback.print_exc()
        return False
    finally:
        if options.onnx is None:
            path.unlink(missing_ok=True)
    return True


def _steps(
    entry: Entry, table: Table, path: Path, speed: str
) -> Iterable[tuple[str, Callable[[], Figures]]]:
    """What is left to be measured of a row."""
    known = table.get(entry.key)
    timed = known is not None and known.cpu_ms is not None
    times = speed == "again" or (speed == "missing" and not timed)
    compiled = known is not None and (known.engine_bytes or known.engine_refused)
    if known is None or ((times or not compiled) and not path.exists()):
        yield "exporting, comparing", lambda: _kept(measure_graph(entry, path), known)
    if not compiled:
        yield "compiling", lambda: measure_engine(table[entry.key], path)
    if times:
        yield "timing", lambda: measure_speed(table[entry.key], path)


def _kept(figures: Figures, known: Figures | None) -> Figures:
    """New figures of the graph beside the known ones of its engines."""
    if known is None:
        return figures
    return Figures.from_json(known.as_json() | {k: v for k, v in figures.as_json().items() if v})


def read_table(path: Path | None) -> Table:
    """The figures of a file that an earlier run wrote; none where there is no file.

    Raises:
        UsageError: the file is something else.
    """
    if path is None or not path.exists():
        return {}
    try:
        rows = [Figures.from_json(row) for row in json.loads(path.read_text())["models"]]
    except (ValueError, KeyError, TypeError) as error:
        raise UsageError(
            f"{path}: expected figures that this program wrote, got something else ({error!r}). "
            "Give another --json."
        ) from None
    return {Entry(row.name, row.kind).key: row for row in rows}


def write_table(path: Path | None, table: Table) -> None:
    """Write all figures, and what they were measured on; the file is whole at any time."""
    if path is None:
        return
    content: dict[str, Any] = {
        "machine": describe_machine(),
        "versions": describe_versions(),
        "threads": THREADS,
        "models": [row.as_json() for row in table.values()],
    }
    partial = path.with_name(f".{path.name}.partial")
    partial.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    os.replace(partial, path)


def chosen(table: Table, wanted: Sequence[Entry]) -> list[Figures]:
    """The rows of ``wanted`` that have been measured, in its order."""
    return [table[entry.key] for entry in wanted if entry.key in table]


def as_markdown(rows: Sequence[Figures]) -> str:
    """The table, and what it was measured on."""
    machine, versions = describe_machine(), describe_versions()
    lines = [_line(_HEAD), _line(["---"] * len(_HEAD))]
    lines += [_line(_cells(row)) for row in rows]
    note = (
        f"{BODYPARTS} bodyparts, {ANIMALS} animals, random weights. Frames of "
        f"{FRAME[0]}x{FRAME[1]} for bottom-up models and detectors, crops of the stated size for "
        f"the others. Processor time in ONNX Runtime {versions.get('onnxruntime', '')} on "
        f"{THREADS} thread ({machine['processor']}). TensorRT-RTX engines are compiled without a "
        f"GPU, and not run. Made by `{COMMAND} --readme`."
    )
    if any(map(_disturbed, rows)):
        note += " \\* Other programs used the processor meanwhile."
    return "\n".join([*lines, "", note])


def _cells(row: Figures) -> list[str]:
    side = "" if row.size == FRAME else f" ({row.size[0]}x{row.size[1]})"
    mark = r" \*" if _disturbed(row) else ""
    cpu = "" if row.cpu_ms is None else f"{_digits(row.cpu_ms)} ms{side}{mark}"
    return [
        f"`{row.name}`",
        row.kind,
        f"{row.parameters / 1e6:.1f} M",
        f"{row.onnx_bytes / 1e6:.0f} MB",
        f"{_digits(row.px_max, 2)} px ({row.points})",
        cpu,
        _engine(row),
    ]


def _disturbed(row: Figures) -> bool:
    return bool(row.cpu_ms and row.wall_ms and row.wall_ms > DISTURBED * row.cpu_ms)


def _engine(row: Figures) -> str:
    if row.engine_refused:
        return row.engine_refused.replace("|", "\\|")
    if row.engine_bytes is None or row.engine_seconds is None:
        return ""
    return f"{row.engine_bytes / 1e6:.0f} MB in {_digits(row.engine_seconds, 2)} s"


def _digits(value: float, digits: int = 3) -> str:
    """So many significant digits, without an exponent."""
    if value == 0:
        return "0"
    places = digits - 1
    while abs(value) >= 10 ** (digits - places) and places > 0:
        places -= 1
    while abs(value) < 10 ** (digits - 1 - places):
        places += 1
    return f"{value:.{places}f}"


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def write_between_markers(path: Path, text: str) -> None:
    """Replace what stands between the two markers of ``path``.

    Raises:
        UsageError: the file does not have each marker once, in their order.
    """
    content = path.read_text(encoding="utf-8")
    before, found, rest = content.partition(f"{BEGIN}\n")
    old, end, after = rest.partition(END)
    if not found or not end or BEGIN in old + after or END in before + after:
        raise UsageError(
            f"{path}: expected a line {BEGIN} and below it a line {END}, each once. Put them where "
            "the table belongs."
        )
    path.write_text(f"{before}{BEGIN}\n\n{text}\n\n{END}{after}", encoding="utf-8")


def _tell(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
