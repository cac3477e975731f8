from __future__ import annotations

import threading

import numpy as np
import pytest

import dlc_deploy
from dlc_deploy.bundle import MANIFEST, Bundle
from dlc_deploy.errors import BundleError, UsageError
from dlc_deploy.runtime.parallel import Parallelism
from tests.tiny_bundle import TAIL, dot, frame, write_bundle

pytest.importorskip("onnxruntime")


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    return write_bundle(tmp_path_factory.mktemp("bottom-up") / "mouse")


@pytest.fixture(scope="module")
def top_down(tmp_path_factory):
    return write_bundle(tmp_path_factory.mktemp("top-down") / "mice", top_down=True, individuals=2)


def frames(count, width=96, height=64):
    return np.stack([frame(dot(number, width, height), width, height) for number in range(count)])


def test_one_frame_without_a_batch_axis_gives_one_pose(bundle):
    with dlc_deploy.load(bundle) as pose:
        poses = pose(frame((30, 20), 64, 48))
    assert len(poses) == 1 and poses.xy.dtype == np.float32
    expected = [(30, 20), np.add((30, 20), TAIL)]
    np.testing.assert_allclose(poses.xy[0, 0], expected, atol=1e-3)
    np.testing.assert_allclose(poses.score, 250 / 255, atol=1e-4)


def test_several_frames_give_their_poses_in_order(bundle):
    with dlc_deploy.load(str(bundle)) as pose:
        poses = pose(frames(9))
    assert len({tuple(xy) for xy in poses.xy[:, 0, 0].round().tolist()}) == 9
    np.testing.assert_allclose(poses.xy[:, 0, 0], [dot(n) for n in range(9)], atol=1e-3)


def test_the_caller_keeps_the_frames_as_they_were(bundle):
    given = frames(2)
    with dlc_deploy.load(bundle) as pose:
        pose(given)
    np.testing.assert_array_equal(given, frames(2))


def test_top_down_gives_poses_and_boxes_in_pixels_of_the_frame(top_down):
    with dlc_deploy.load(top_down) as pose:
        poses = pose(frames(5))
    assert poses.xy.shape == (5, 2, 2, 2)
    expected = np.float32([dot(number) for number in range(5)])
    # DeepLabCut maps crops back without a half-pixel term: up to half a frame pixel aside
    np.testing.assert_allclose(poses.xy[:, 0, 0], expected, atol=0.5)
    np.testing.assert_allclose(poses.xy[:, 1, 0], expected, atol=0.5)
    np.testing.assert_allclose(poses.boxes.xywh[:, 0, :2], expected - 12, atol=1e-3)
    np.testing.assert_allclose(poses.boxes.xywh[:, 0, 2:], 24, atol=1e-3)


def test_fewer_individuals_than_the_bundle_has_take_the_best_boxes(top_down):
    with dlc_deploy.load(top_down, max_individuals=1) as pose:
        poses = pose(frames(3))
    assert pose.max_individuals == 1
    assert poses.xy.shape == (3, 1, 2, 2) and poses.boxes.score.shape == (3, 1)
    np.testing.assert_allclose(poses.boxes.score, 250 / 255, atol=1e-4)


@pytest.mark.parametrize("asked", [0, -1, 3])
def test_individuals_that_the_bundle_cannot_find_are_refused(top_down, asked):
    with pytest.raises(UsageError, match=f"Expected 1 to 2 individuals, got {asked}.*Export"):
        dlc_deploy.load(top_down, max_individuals=asked)


def test_a_bundle_that_tells_animals_apart_looks_for_all_of_them(tmp_path):
    path = write_bundle(tmp_path / "two", individuals=2)
    manifest = Bundle.open(path).manifest
    named = manifest.model_copy(
        update={"pose": manifest.pose.model_copy(update={"identity": True})}
    ).sealed()
    (path / MANIFEST).write_text(named.to_json())
    with pytest.raises(UsageError, match=r"tells 2 individuals apart .*Leave the option out"):
        dlc_deploy.load(path, max_individuals=1)
    with dlc_deploy.load(path, max_individuals=2) as pose:
        assert pose.max_individuals == 2


@pytest.mark.parametrize(
    "given",
    [
        frames(1).astype(np.float32),
        frames(1)[..., 0],
        frames(1)[..., :1],
        frames(1)[None],
        frames(1)[0, 0],
    ],
)
def test_frames_of_another_kind_are_refused_with_what_came(bundle, given):
    with (
        dlc_deploy.load(bundle) as pose,
        pytest.raises(ValueError, match=r"Expected frames uint8 \[N, H, W, 3\] in RGB, got "),
    ):
        pose(given)


@pytest.mark.parametrize("shape", [(0, 48, 64, 3), (1, 0, 64, 3), (1, 48, 0, 3)])
def test_no_frames_and_no_pixels_are_refused(bundle, shape):
    with dlc_deploy.load(bundle) as pose, pytest.raises(ValueError, match="at least one frame"):
        pose(np.zeros(shape, np.uint8))


def test_leaving_the_block_closes_the_engines(top_down):
    with dlc_deploy.load(top_down) as pose:
        assert repr(pose) == f"Estimator({str(top_down)!r}, device='cpu')"
        assert pose.device == "cpu" and set(pose.pipeline.engines) == {"pose", "detector"}
    with pytest.raises(ValueError, match="closed"):
        pose(frames(1))
    pose.close()


def test_several_threads_may_ask_at_once(bundle):
    found = {}
    with dlc_deploy.load(bundle) as pose:

        def ask(number):
            for _ in range(10):
                found.setdefault(number, []).append(pose(frame(dot(number), 96, 64)).xy[0, 0, 0])

        threads = [threading.Thread(target=ask, args=(number,)) for number in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    for number in range(6):
        np.testing.assert_allclose(found[number], [dot(number)] * 10, atol=1e-3)


def test_an_opened_bundle_loads_too_and_threads_are_the_engines(bundle):
    plan = Parallelism(workers=1, threads=3)
    opened = dlc_deploy.Bundle.open(bundle)
    with dlc_deploy.load(opened, engine="onnxruntime", parallelism=plan) as pose:
        assert pose.bundle is opened and pose.parallelism is plan
        assert "3 threads a run" in pose.pipeline.engines["pose"].description


def test_what_is_no_bundle_is_told(tmp_path):
    with pytest.raises(BundleError, match=r"absent: expected a bundle, found no manifest.json"):
        dlc_deploy.load(tmp_path / "absent")


def test_an_engine_that_does_not_exist_is_refused_by_name(bundle):
    with pytest.raises(UsageError, match=r"engine auto or onnxruntime, got 'onnxruntim'"):
        dlc_deploy.load(bundle, engine="onnxruntim")
