from __future__ import annotations

import json

import pytest
from pydantic import ValidationError

from dlc_deploy.runtime.outputs.report import RunReport
from tests.tracks import report


def test_a_report_comes_back_from_its_text():
    written = report()
    assert RunReport.model_validate_json(written.model_dump_json()) == written


def test_a_program_finds_the_frames_and_the_reasons_in_the_text():
    content = json.loads(report().model_dump_json())
    assert content["missing"] == {"3": "the packet cannot be decoded"}
    assert content["frames_range"] == [0, 5]
    assert content["frames_in_container"] is None and content["pts_seconds"] == [0.0, None]
    assert content["stages"]["pose"]["busy_seconds"] == 0.5
    assert content["complete"] is True and content["outputs"] == {}


def test_an_unknown_key_is_refused_by_name():
    content = json.loads(report().model_dump_json()) | {"frames_lost": 1}
    with pytest.raises(ValidationError, match="frames_lost"):
        RunReport.model_validate(content)
