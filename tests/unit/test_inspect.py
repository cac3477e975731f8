from __future__ import annotations

import json
import sys

import pytest

from dlc_deploy.bundle import PARITY, Bundle
from dlc_deploy.command import main
from tests.drawn_videos import write_sound
from tests.tiny_bundle import SCORER, seal, write_bundle, write_dot_video


@pytest.fixture
def inspect(capfd):
    def run(path, *words):
        capfd.readouterr()
        status = main(["inspect", str(path), *words])
        return status, *capfd.readouterr()

    return run


@pytest.fixture
def bundle(tmp_path):
    pytest.importorskip("onnxruntime")
    return write_bundle(tmp_path / "mouse")


def test_a_bundle_shows_its_model(bundle, inspect):
    status, out, err = inspect(bundle)
    assert (status, err) == (0, "")
    for fact in ("bundle", SCORER, "snout, tail", "mouse1", "pose.onnx", "tiny"):
        assert fact in out


def test_a_bundle_as_json_has_its_manifest_sizes_and_parity(bundle, inspect):
    status, out, err = inspect(bundle, "--json")
    facts = json.loads(out)
    assert (status, err, facts["kind"]) == (0, "", "bundle")
    assert facts["bodyparts"] == ["snout", "tail"] and facts["method"] == "bu"
    assert facts["bytes"]["pose.onnx"] == (bundle / "pose.onnx").stat().st_size
    assert facts["parity"]["pose"]["points"] == 2


@pytest.mark.parametrize("content", [b"", b"no json", b"[]", b"{}", b"\xff\xfe"])
def test_a_damaged_parity_report_is_a_fault_of_the_bundle(bundle, inspect, content):
    (bundle / PARITY).write_bytes(content)
    status, out, err = inspect(seal(bundle))
    assert (status, out) == (2, "")
    assert str(bundle / PARITY) in err and "expected" in err and len(err.splitlines()) == 1


def test_a_bundle_without_a_parity_report_is_told(bundle, inspect):
    manifest = Bundle.open(bundle).manifest
    (bundle / PARITY).unlink()
    status, out, err = inspect(seal(bundle, manifest))
    assert (status, out) == (2, "") and str(bundle / PARITY) in err


def test_a_video_shows_its_header(tmp_path, inspect):
    video = write_dot_video(tmp_path / "dot.mp4", 20)
    status, out, err = inspect(video)
    assert (status, err) == (0, "") and "h264" in out and "yuv420p" in out
    facts = json.loads(inspect(video, "--json")[1])
    assert facts["kind"] == "video" and facts["path"] == str(video)
    assert (facts["width"], facts["height"], facts["frames"], facts["fps"]) == (96, 64, 20, 25.0)


def test_a_name_with_brackets_is_shown_as_it_is(tmp_path, inspect):
    (tmp_path / "a[").mkdir()  # with the name below it: "[/b]", which closes what was not opened
    video = write_dot_video(tmp_path / "a[" / "b] [red].mp4", 1)
    status, out, err = inspect(video)
    assert (status, err) == (0, "") and out.count("[red]") == 2


def test_what_holds_nothing_we_know_is_told(tmp_path, inspect):
    text = tmp_path / "notes.txt"
    text.write_text("no video")
    for path, message in [
        (tmp_path / "absent", "found nothing there"),
        (text, "FFmpeg cannot read it"),
        (write_sound(tmp_path / "sound.m4a"), "its only streams are: audio"),
        (tmp_path, "found no manifest.json"),
    ]:
        for words in ([], ["--json"]):
            status, out, err = inspect(path, *words)
            assert (status, out) == (2, "") and message in err and len(err.splitlines()) == 1


@pytest.mark.parametrize("name", ["snapshot.pt", "snapshot.pth"])
def test_a_snapshot_without_torch_names_the_line_that_installs_it(
    tmp_path, inspect, monkeypatch, name
):
    (tmp_path / name).write_bytes(b"x")
    for module in [m for m in sys.modules if m.startswith("dlc_deploy.training")]:
        monkeypatch.delitem(sys.modules, module)
    monkeypatch.setitem(sys.modules, "torch", None)
    status, out, err = inspect(tmp_path / name)
    assert (status, out) == (2, "")
    assert "needs torch, which is not installed" in err
    assert "pip install 'dlc-deploy[export,cpu]'" in err


@pytest.mark.torch
def test_a_snapshot_shows_what_it_holds(tmp_path, inspect):
    torch = pytest.importorskip("torch")
    path = tmp_path / "snapshot-007.pt"
    torch.save({"model": {"a.weight": torch.zeros(3, 4)}, "metadata": {"epoch": 7}}, path)
    status, out, _ = inspect(path, "--json")
    facts = json.loads(out)
    assert (status, facts["kind"], facts["parameters"]) == (0, "snapshot", 12)
    assert facts["metadata"]["epoch"] == 7 and facts["has detector"] is False
    torch.save({"model": {"a.weight": torch.zeros(3)}, "metadata": {"loss": torch.ones(2)}}, path)
    for words in ([], ["--json"]):
        assert inspect(path, *words)[0] == 0
    path.write_bytes(b"no snapshot")
    assert inspect(path)[0] == 2
