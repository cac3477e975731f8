from __future__ import annotations

import io
import logging
import sys

import pytest

torch = pytest.importorskip("torch")

from dlc_deploy.training.runners.display import EpochReport, TrainingDisplay  # noqa: E402

pytestmark = pytest.mark.torch


class Terminal(io.StringIO):
    def isatty(self):
        return True


def report(**changes):
    values = {"epoch": 2, "rate": 1e-4, "losses": {"train.total_loss": 0.25}, "metrics": {}}
    return EpochReport(**values | changes)


def shown(**options):
    with TrainingDisplay(2, 3, **options) as display:
        display.step(2, 1, 0.5, 1e-3)
        display.end_epoch(report())


def test_a_line_tells_losses_rate_and_metrics():
    assert str(report()) == "loss 0.25000, lr 0.0001"
    evaluated = report().with_evaluation({"eval.total_loss": 0.5}, {"metrics/test.mAP": 91.234})
    assert str(evaluated) == "loss 0.25000, test loss 0.50000, lr 0.0001, mAP 91.23"
    assert evaluated.values() == {
        "losses/train.total_loss": 0.25, "losses/eval.total_loss": 0.5, "metrics/test.mAP": 91.234
    }  # fmt: skip
    detector = report().with_evaluation({"eval.total_loss": float("nan")}, {})
    assert str(detector) == "loss 0.25000, lr 0.0001"


def test_a_terminal_shows_the_step_and_keeps_a_line_for_each_epoch(monkeypatch):
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "120")
    shown()
    text = terminal.getvalue()
    assert "epoch 2/2" in text and "4/6" in text and "loss 0.50000  lr 0.001" in text
    assert "epoch 2/2: loss 0.25000, lr 0.0001" in text


@pytest.mark.parametrize("options", [{}, {"shown": False}])
def test_elsewhere_lines_go_to_the_log_alone(monkeypatch, caplog, options):
    stream = io.StringIO() if not options else Terminal()
    monkeypatch.setattr(sys, "stderr", stream)
    with caplog.at_level(logging.INFO):
        shown(**options)
    assert stream.getvalue() == ""
    assert caplog.messages == ([] if options else ["epoch 2/2: loss 0.25000, lr 0.0001"])
