from __future__ import annotations

import json
from typing import Any

import pytest

from dlc_deploy.benchmarks.comparison import (
    Program,
    Run,
    Setting,
    as_json,
    as_markdown,
    summarize,
)

RESNET, RTMPOSE = Setting("resnet_50", 1), Setting("rtmpose_s + detector", 8)


def run(program: Program, setting: Setting, seconds: float, number: int = 1, **values: Any) -> Run:
    return Run(program, setting, number, 100, seconds, load_average=0.5, **values)


def rounds(setting: Setting) -> list[Run]:
    """Three rounds; DeepLabCut's last and our first are disturbed."""
    runs = []
    for number, (theirs, ours) in enumerate([(20, 50), (25, 10), (100, 8)], start=1):
        runs += [
            run(
                "deeplabcut",
                setting,
                theirs,
                number,
                command_seconds=theirs + 11,
                processor_seconds=50,
                others_cores=0.25,
            ),
            run(
                "dlc-analyze",
                setting,
                ours,
                number,
                command_seconds=ours + 2,
                processor_seconds=20,
                stages={"decode": 1.0, "pose": 3.0 if number == 1 else 9.0},
            ),
            run("decoding", setting, 0.5, number),
            run("network", setting, 9, number),
        ]
    return runs


@pytest.fixture
def facts() -> dict[str, Any]:
    sure = {"count": 400, "spread": 150.4, "median": 0.0101, "p99": 0.2, "max": 0.5}
    row = {"model": "resnet_50", "batch": 1, "above": {"0.3": sure}, "layout": {"columns": True}}
    lost = {**row, "above": {"0.3": {"count": 0}}, "layout": {"columns": True, "index": False}}
    names = ("machine", "versions", "deeplabcut_versions", "configuration", "bundles")
    return {
        "title": "Against DeepLabCut",
        "date": "2026-01-31",
        **{name: {name: "x"} for name in names},
        "agreement": [row, lost],
    }


def table_rows(text: str) -> list[list[str]]:
    lines = [line for line in text.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


def test_medians_ignore_a_disturbed_round_and_the_ratio_is_of_medians() -> None:
    (summary,) = summarize(rounds(RESNET))
    assert summary.deeplabcut == pytest.approx(100 / 25)
    assert summary.ours == pytest.approx(100 / 10)
    assert summary.ratio == pytest.approx(2.5)
    assert summary.decoding == pytest.approx(200)
    assert summary.network == pytest.approx(100 / 9)
    assert summary.commands == (36, 12)
    assert summary.processor == (50, 20)
    assert summary.stages == {"decode": pytest.approx(0.1), "pose": pytest.approx(0.9)}


def test_settings_are_kept_apart_and_in_order() -> None:
    summaries = summarize([*rounds(RTMPOSE), *rounds(RESNET)])
    assert [summary.setting for summary in summaries] == [RTMPOSE, RESNET]


def test_the_markdown_shows_speeds_costs_and_agreement(facts: dict[str, Any]) -> None:
    text = as_markdown(rounds(RESNET), facts)
    rows = table_rows(text)
    assert ["resnet_50", "1", "4.00", "10.00", "**2.50**", "200", "11.11"] in rows
    costs = ["36.0 s", "12.0 s", "**3.00**", "50.0 s", "20.0 s", "**2.50**"]
    assert ["resnet_50", "1", *costs] in rows
    assert ["resnet_50", "1", "decode 10.0%, pose 90.0%"] in rows
    assert ["resnet_50", "1", "400", "150", "0.01010", "0.20000", "0.50000", "equal"] in rows
    assert ["resnet_50", "1", "0", "-", "-", "-", "-", "differs"] in rows
    assert "median 0.25, most 0.25" in text


def test_every_table_row_has_as_many_cells_as_its_head(facts: dict[str, Any]) -> None:
    rows = table_rows(as_markdown([*rounds(RESNET), *rounds(RTMPOSE)], facts))
    heads = [place for place, row in enumerate(rows) if set(row) == {"---"}]
    assert len(heads) == 4
    for start, end in zip(heads, [*heads[1:], len(rows) + 1], strict=True):
        assert len({len(row) for row in rows[start - 1 : end - 1]}) == 1


def test_the_json_keeps_every_run(facts: dict[str, Any]) -> None:
    content = json.loads(json.dumps(as_json(rounds(RESNET), facts)))
    assert len(content["runs"]) == 12
    assert content["runs"][0]["frames_per_second"] == pytest.approx(5)
    assert content["runs"][0]["setting"] == {"model": "resnet_50", "batch": 1}
    assert content["date"] == "2026-01-31"
