from __future__ import annotations

import json
import re

import numpy as np
import pytest

from dlc_deploy.bundle import GOLDEN, PARITY, Bundle, Golden
from dlc_deploy.command import main
from dlc_deploy.poses import Boxes, Poses
from tests.tiny_bundle import seal, write_bundle

pytest.importorskip("onnxruntime")


@pytest.fixture(params=["bottom-up", "top-down"])
def bundle(request, tmp_path):
    top_down = request.param == "top-down"
    return write_bundle(tmp_path / "mouse", top_down=top_down, individuals=1 + top_down)


@pytest.fixture
def verify(capfd):
    def run(bundle, *words):
        capfd.readouterr()
        status = main(["verify", str(bundle), *words])
        return status, *capfd.readouterr()

    return run


def change_golden(bundle, change):
    """Replace the golden poses by others, and seal the bundle again."""
    golden = Bundle.open(bundle).golden()
    Golden(golden.frames, change(golden.poses)).save(bundle / GOLDEN)
    seal(bundle)


def moved(pixels):
    return lambda poses: Poses(poses.xy + np.float32(pixels), poses.score, poses.boxes)


def test_a_whole_bundle_passes_with_what_was_compared(bundle, verify):
    status, out, err = verify(bundle)
    assert (status, err) == (0, "")
    files, points = ("5", "4") if "detector.onnx" in Bundle.open(bundle).manifest.files else "42"
    assert out.startswith(f"{bundle}: {files} files as sealed; ONNX Runtime ")
    assert f"({points} points, at most 0 px apart)" in out


def test_json_is_one_object(bundle, verify):
    status, out, err = verify(bundle, "--json")
    result = json.loads(out)
    assert (status, err, result["passed"]) == (0, "", True)
    assert result["bundle"] == Bundle.open(bundle).manifest.fingerprint
    assert result["px_max"] == result["score_max"] == 0
    assert (result["boxes_px_max"] is None) == (result["points"] == 2)


@pytest.mark.parametrize("name", ["pose.onnx", "parity.json", GOLDEN])
def test_an_altered_file_is_named(bundle, verify, name):
    with (bundle / name).open("ab") as file:
        file.write(b" ")
    status, out, err = verify(bundle)
    assert (status, out) == (3, "")
    assert f"not what the manifest sealed: {name}. Copy the bundle again" in err
    assert len(err.splitlines()) == 1


@pytest.mark.parametrize("pixels", [0.02, -5, np.nan])
def test_other_golden_poses_do_not_pass(bundle, verify, pixels):
    change_golden(bundle, moved(pixels))
    status, out, err = verify(bundle)
    assert (status, out) == (3, "")
    assert "does not replay on this machine: expected at most 0.01 px and 0.001 in score" in err
    assert re.search(r"got \d keypoints at most (\S+) px apart, .*scores at most \S+\. Try an", err)
    status, out, _ = verify(bundle, "--json")
    assert status == 3 and json.loads(out)["passed"] is False


def test_what_the_export_accepted_passes(bundle, verify):
    change_golden(bundle, moved(0.02))
    report = json.loads((bundle / PARITY).read_text())
    for tolerance, expected in ((0.05, 0), (0.015, 3), (0.0, 3)):
        (bundle / PARITY).write_text(json.dumps(report | {"tolerance_px": tolerance}))
        seal(bundle)
        status, out, _ = verify(bundle, "--json")
        assert (status, json.loads(out)["tolerance_px"]) == (expected, max(tolerance, 0.01))
    (bundle / PARITY).write_text("[]")
    status, _, err = verify(seal(bundle))
    assert status == 2 and "parity.json: expected a parity report with its tolerance_px" in err


def test_rounding_passes(bundle, verify):
    change_golden(bundle, moved(0.004))
    assert verify(bundle)[0] == 0


def test_other_golden_scores_do_not_pass(bundle, verify):
    change_golden(bundle, lambda poses: Poses(poses.xy, poses.score - 0.01, poses.boxes))
    assert verify(bundle)[0] == 3


def test_other_golden_boxes_do_not_pass(tmp_path, verify):
    bundle = write_bundle(tmp_path / "mice", top_down=True, individuals=2)

    def change(poses):
        boxes = Boxes(poses.boxes.xywh + np.float32([0, 0, 0.1, 0]), poses.boxes.score)
        return Poses(poses.xy, poses.score, boxes)

    change_golden(bundle, change)
    status, _, err = verify(bundle)
    assert status == 3 and "boxes at most 0.1 px" in err


def test_golden_poses_of_nobody_prove_nothing(bundle, verify):
    change_golden(bundle, lambda poses: Poses.absent(len(poses), poses))
    status, _, err = verify(bundle)
    assert status == 3 and "golden frame of this bundle shows no animal" in err


def test_golden_frames_of_another_number_are_a_fault_of_the_bundle(bundle, verify):
    def change(poses):
        return Poses.concatenate([poses, poses])

    change_golden(bundle, change)
    status, out, err = verify(bundle)
    assert (status, out) == (2, "") and "expected golden poses of (1, " in err


def test_what_is_no_bundle_and_a_graph_that_is_none_are_told(bundle, verify):
    status, out, err = verify(bundle / "absent")
    assert (status, out) == (2, "") and "expected a bundle, found no manifest.json" in err
    (bundle / "pose.onnx").write_bytes(b"no graph")
    status, out, err = verify(seal(bundle))
    assert (status, out) == (2, "") and "expected an ONNX file" in err
    (bundle / "pose.onnx").unlink()
    status, out, err = verify(bundle)
    assert (status, out) == (2, "") and "files of the bundle are missing: pose.onnx" in err


def test_a_keypoint_that_the_golden_frame_does_not_have_does_not_pass(tmp_path, verify):
    def without_tail(poses):
        score = poses.score.copy()
        score[..., 1] = np.nan
        return Poses(poses.xy, score)

    bundle = write_bundle(tmp_path / "mouse")
    change_golden(bundle, without_tail)
    status, _, err = verify(bundle)
    assert status == 3 and "does not replay" in err
