"""COCO's metrics of boxes, on cases that can be worked out by hand."""

from __future__ import annotations

import sys

import numpy as np
import pytest

from dlc_deploy.errors import InputError, UnavailableError
from dlc_deploy.training.metrics.boxes import compute_bbox_metrics

NAMES = {"mAP@50:95", "mAP@50", "mAP@75", "mAR@50:95", "mAR@50", "mAR@75"}
BOXES = np.array([[10.0, 10, 100, 100], [200, 50, 50, 80]])


def labels(boxes):
    return {"bboxes": boxes, "width": 320, "height": 240}


def found(boxes, scores):
    return {"bboxes": boxes, "scores": np.asarray(scores, dtype=np.float32)}


@pytest.fixture
def pycocotools():
    return pytest.importorskip("pycocotools")


def test_perfect_boxes_score_a_hundred(pycocotools, capsys):
    metrics = compute_bbox_metrics({"a": labels(BOXES)}, {"a": found(BOXES, [0.9, 0.8])})
    assert metrics == pytest.approx(dict.fromkeys(NAMES, 100.0))
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize(
    ("side", "average", "at_75"),
    [
        (0.8, 30, 0),  # overlap 0.64: right at 0.5, 0.55 and 0.6 of the ten thresholds
        (0.88, 60, 100),  # 0.774: right up to 0.75
        (0.85, 50, 0),  # 0.7225: right up to 0.7
    ],
)
def test_overlaps_decide_at_which_thresholds_a_box_counts(pycocotools, side, average, at_75):
    smaller = BOXES * [1, 1, side, side]
    metrics = compute_bbox_metrics({"a": labels(BOXES)}, {"a": found(smaller, [0.9, 0.8])})
    for kind in ("mAP", "mAR"):
        assert metrics[f"{kind}@50:95"] == pytest.approx(average)
        assert metrics[f"{kind}@50"] == pytest.approx(100)
        assert metrics[f"{kind}@75"] == pytest.approx(at_75)


def test_a_wrong_box_costs_precision_only_where_it_scores_higher(pycocotools):
    truth = {"a": labels(BOXES[:1]), "b": labels(BOXES[:0])}

    def with_wrong_box(score):
        there = {"a": found(BOXES[:1], [0.5]), "b": found(BOXES[1:], [score])}
        return compute_bbox_metrics(truth, there)

    assert with_wrong_box(0.1)["mAP@50:95"] == pytest.approx(100)
    assert with_wrong_box(0.9)["mAP@50:95"] == pytest.approx(50)
    assert with_wrong_box(0.9)["mAR@50:95"] == pytest.approx(100)


def test_nothing_detected_is_zero_and_nothing_labelled_is_minus_one(pycocotools):
    nothing = np.zeros((0, 4))
    missed = compute_bbox_metrics({"a": labels(BOXES)}, {"a": found(nothing, [])})
    assert missed == dict.fromkeys(NAMES, 0.0)
    unlabelled = compute_bbox_metrics({"a": labels(nothing)}, {"a": found(BOXES, [0.9, 0.8])})
    assert unlabelled == dict.fromkeys(NAMES, -1.0)


@pytest.mark.parametrize(
    ("detections", "message"),
    [
        ({"b": found(BOXES, [0.9, 0.8])}, "only one side has a, b"),
        ({"a": found(BOXES, [0.9])}, "a: expected a score of each box, got 2 boxes and 1"),
    ],
)
def test_detections_of_something_else_are_refused(pycocotools, detections, message):
    with pytest.raises(InputError, match=message):
        compute_bbox_metrics({"a": labels(BOXES)}, detections)


def test_a_missing_package_is_told(monkeypatch):
    monkeypatch.setitem(sys.modules, "pycocotools", None)
    monkeypatch.setitem(sys.modules, "pycocotools.coco", None)
    with pytest.raises(UnavailableError, match=r"pip install 'dlc-deploy\[train\]'"):
        compute_bbox_metrics({"a": labels(BOXES)}, {"a": found(BOXES, [0.9, 0.8])})
