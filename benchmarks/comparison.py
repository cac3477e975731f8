"""The figures of a comparison with DeepLabCut: runs, their medians, and a table to read."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from statistics import median
from typing import Any, Literal

_FACTS = {
    "machine": "machine",
    "versions": "versions",
    "DeepLabCut's environment": "deeplabcut_versions",
    "configuration": "configuration",
    "bundles": "bundles",
}

Program = Literal["deeplabcut", "dlc-analyze", "decoding", "network"]


@dataclass(frozen=True, slots=True)
class Setting:
    """What was analysed how."""

    model: str
    batch: int


@dataclass(frozen=True, slots=True)
class Run:
    """One measurement.

    Attributes:
        program: who ran; ``decoding`` and ``network`` are parts of our analysis on their own.
        seconds: wall clock of the analysis, model and packages being loaded.
        command_seconds: wall clock of the whole process, with its imports; None for a part.
        processor_seconds: of the whole process and all its threads; None for a part.
        stages: busy seconds of our analysis by stage, summed over the workers of a stage.
        load_average: of the last minute, before the run; the run before it is still in it.
        others_cores: cores that other programs used during the run, on average.
    """

    program: Program
    setting: Setting
    round: int
    frames: int
    seconds: float
    load_average: float
    command_seconds: float | None = None
    processor_seconds: float | None = None
    others_cores: float | None = None
    stages: dict[str, float] = field(default_factory=dict)

    @property
    def frames_per_second(self) -> float:
        """Of the analysis, without loading."""
        return self.frames / self.seconds


@dataclass(frozen=True, slots=True)
class Summary:
    """Medians over the rounds of one setting.

    Attributes:
        deeplabcut, ours: frames per second of the analysis; ``ratio`` is ours to DeepLabCut's.
        decoding, network: frames per second of these parts of ours alone.
        commands: seconds of the whole processes, DeepLabCut's and ours.
        processor: processor seconds of the whole processes, DeepLabCut's and ours.
        stages: share of the busy time of our analysis, by stage.
    """

    setting: Setting
    deeplabcut: float
    ours: float
    ratio: float
    decoding: float
    network: float
    commands: tuple[float, float]
    processor: tuple[float, float]
    stages: dict[str, float]


def summarize(runs: Sequence[Run]) -> list[Summary]:
    """One summary for each setting, in the order of the runs."""
    settings = list(dict.fromkeys(run.setting for run in runs))
    return [_summarize([run for run in runs if run.setting == setting]) for setting in settings]


def _summarize(runs: Sequence[Run]) -> Summary:
    def middle(program: Program, value: Callable[[Run], float | None]) -> float:
        return median(value(run) or 0.0 for run in runs if run.program == program)

    def speed(program: Program) -> float:
        return middle(program, lambda run: run.frames_per_second)

    commands, processor = (
        (middle("deeplabcut", value), middle("dlc-analyze", value))
        for value in (lambda run: run.command_seconds, lambda run: run.processor_seconds)
    )
    return Summary(
        setting=runs[0].setting,
        deeplabcut=speed("deeplabcut"),
        ours=speed("dlc-analyze"),
        ratio=speed("dlc-analyze") / speed("deeplabcut"),
        decoding=speed("decoding"),
        network=speed("network"),
        commands=commands,
        processor=processor,
        stages=_shares([run.stages for run in runs if run.program == "dlc-analyze"]),
    )


def _shares(stages: Sequence[dict[str, float]]) -> dict[str, float]:
    middle = {name: median(run[name] for run in stages) for name in stages[0]}
    total = sum(middle.values()) or 1.0
    return {name: seconds / total for name, seconds in middle.items()}


def as_json(runs: Sequence[Run], facts: dict[str, Any]) -> dict[str, Any]:
    """Everything: facts, medians, and every single run."""
    return facts | {
        "summary": [asdict(summary) for summary in summarize(runs)],
        "runs": [asdict(run) | {"frames_per_second": run.frames_per_second} for run in runs],
    }


def as_markdown(runs: Sequence[Run], facts: dict[str, Any]) -> str:
    """The tables to read."""
    summaries = summarize(runs)
    parts = [
        f"# {facts['title']}, {facts['date']}",
        "\n".join(f"- {name}: {_listed(facts[key])}" for name, key in _FACTS.items()),
        "## Speed",
        "Frames per second of the analysis itself (decoding, networks, poses), medians. Loading "
        "and imports are left out here; they are in the whole command below. Decoding and "
        "networks are these parts of ours on their own, which bound the whole.",
        _table(
            "model, batch, DeepLabCut, dlc-analyze, ratio, decoding, networks",
            [(*_named(s), *_speeds(s)) for s in summaries],
        ),
        "## Whole command",
        "Wall-clock and processor seconds of the process, from its start to its end.",
        _table(
            "model, batch, DeepLabCut, dlc-analyze, ratio, "
            "DeepLabCut (processor), dlc-analyze (processor), ratio (processor)",
            [(*_named(s), *_costs(s)) for s in summaries],
        ),
        "## Where our time goes",
        "Share of the busy time of all stages.",
        _table("model, batch, stages", [(*_named(s), _stages(s)) for s in summaries]),
        "## The same results",
        "Distance to DeepLabCut's positions where both scores are at least 0.3, in pixels; and "
        "whether columns, index and dtypes of the .h5 are equal.",
        _table(
            "model, batch, keypoints, spread, median, p99, largest, layout",
            [_agreement_row(row) for row in facts["agreement"]],
        ),
        "## How quiet the machine was",
        _quietness(runs),
    ]
    return "\n\n".join(parts) + "\n"


def _named(summary: Summary) -> tuple[str, str]:
    return summary.setting.model, str(summary.setting.batch)


def _speeds(summary: Summary) -> tuple[str, ...]:
    bounds = f"{summary.decoding:.0f}", f"{summary.network:.2f}"
    speeds = f"{summary.deeplabcut:.2f}", f"{summary.ours:.2f}", f"**{summary.ratio:.2f}**"
    return *speeds, *bounds


def _costs(summary: Summary) -> tuple[str, ...]:
    commands, processor = (
        (f"{theirs:.1f} s", f"{ours:.1f} s", f"**{theirs / ours:.2f}**")
        for theirs, ours in (summary.commands, summary.processor)
    )
    return *commands, *processor


def _stages(summary: Summary) -> str:
    return ", ".join(f"{name} {share:.1%}" for name, share in summary.stages.items())


def _listed(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{name} {item}" for name, item in value.items())
    return str(value)


def _agreement_row(row: dict[str, Any]) -> tuple[str, ...]:
    start = str(row["model"]), str(row["batch"])
    sure = row["above"]["0.3"]
    layout = "equal" if all(row["layout"].values()) else "differs"
    if not sure["count"]:
        return (*start, "0", "-", "-", "-", "-", layout)
    distances = (f"{sure[name]:.5f}" for name in ("median", "p99", "max"))
    return (*start, str(sure["count"]), f"{sure['spread']:.0f}", *distances, layout)


def _quietness(runs: Sequence[Run]) -> str:
    loads = [run.load_average for run in runs]
    others = [run.others_cores for run in runs if run.others_cores is not None]
    text = f"Load average of the last minute before a run: {min(loads):.1f} to {max(loads):.1f}."
    if others:
        text += (
            " Cores that other programs used during a run: "
            f"median {median(others):.2f}, most {max(others):.2f}."
        )
    return text


def _table(head: str, rows: Sequence[Sequence[str]]) -> str:
    names = head.split(", ")
    lines = [names, ["---"] * len(names), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)
