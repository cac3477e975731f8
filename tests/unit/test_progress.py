from __future__ import annotations

import pytest

from dlc_deploy.runtime.progress import video_progress


@pytest.fixture
def terminal(monkeypatch):
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "120")
    monkeypatch.setenv("TERM", "xterm")


def test_nothing_is_shown_when_quiet(capfd):
    with video_progress("dot.mp4", quiet=True) as report:
        report(5, 20)
        report(20, 20)
    assert capfd.readouterr() == ("", "")


def test_name_frames_and_speed_are_shown_on_standard_error(capfd, terminal):
    with video_progress("dot.mp4", quiet=False) as report:
        report(5, 20)
        report(20, 20)
    out, err = capfd.readouterr()
    assert out == "" and "dot.mp4" in err and "20/20" in err and "frames/s" in err


def test_a_video_of_unknown_length_counts_on(capfd, terminal):
    with video_progress("dot.avi", quiet=False) as report:
        report(7, None)
    assert "7/?" in capfd.readouterr().err


def test_a_name_with_brackets_is_shown_as_it_is(capfd, terminal):
    with video_progress("mouse [red] [/x].mp4", quiet=False) as report:
        report(1, 2)
    assert "mouse [red] [/x].mp4" in capfd.readouterr().err


def test_a_fault_in_the_middle_passes_through(terminal):
    with pytest.raises(KeyError), video_progress("dot.mp4", quiet=False) as report:
        report(1, 2)
        raise KeyError
