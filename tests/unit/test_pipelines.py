from __future__ import annotations

import numpy as np
import pytest

from dlc_deploy.manifest import DetectorGraph, Manifest, Origin, PoseGraph
from dlc_deploy.preprocessing import CropPreprocessing, FramePreprocessing, Normalization, Resize
from dlc_deploy.runtime.pipelines import BottomUp, TopDown, run_steps

FRAMES = np.zeros((3, 120, 160, 3), np.uint8)


class FakeEngine:
    """Gives prepared outputs and keeps what it was given."""

    device, description = "cpu", "fake"

    def __init__(self, outputs):
        self.outputs, self.seen = outputs, []

    def run(self, inputs):
        self.seen.append(inputs["images"])
        return self.outputs(inputs["images"])

    def close(self):
        pass


def manifest(**changes):
    graph = dict(precision="fp32", size=None, normalization=Normalization())
    content = dict(
        method="bu",
        net_type="resnet_50",
        scorer="scorer",
        bodyparts=("snout", "tail"),
        individuals=("mouse",),
        max_individuals=1,
        pose=PoseGraph(file="pose.onnx", frame=FramePreprocessing(), **graph),
        origin=Origin(snapshot="snapshot-010.pt"),
        tools={},
        created="",
        files={},
    )
    return Manifest(**content | changes)


def top_down(individuals=2, resize=None):
    graph = dict(precision="fp32", size=None, normalization=Normalization())
    return manifest(
        method="td",
        max_individuals=individuals,
        pose=PoseGraph(file="p", crop=CropPreprocessing(height=64, width=64), **graph),
        detector=DetectorGraph(file="d", frame=FramePreprocessing(resize=resize), **graph),
    )


def poses_at(x, y, score=0.9, keypoints=2):
    return lambda images: {
        "poses": np.tile(np.float32([x, y, score]), (len(images), 1, keypoints, 1))
    }


def test_bottom_up_maps_back_what_it_resized():
    spec = FramePreprocessing(resize=Resize(height=60, width=100))
    graph = PoseGraph(
        file="p", precision="fp32", size=(60, 100), normalization=Normalization(), frame=spec
    )
    engine = FakeEngine(poses_at(40, 30))
    poses = run_steps(BottomUp(manifest(pose=graph), engine, 1), FRAMES)
    assert engine.seen[0].shape == (3, 60, 100, 3)
    np.testing.assert_array_equal(poses.xy, np.float32([80, 60]) * np.ones((3, 1, 2, 1), "f4"))
    assert poses.boxes is None


def test_top_down_returns_poses_in_the_frame_and_boxes_of_every_frame():
    def detect(images):
        boxes = np.zeros((3, 2, 4), np.float32)
        scores = np.zeros((3, 2), np.float32)
        boxes[0] = [[10, 20, 50, 60], [80, 40, 120, 100]]
        scores[0] = 0.9, 0.4
        boxes[2, 0], scores[2, 0] = [0, 0, 32, 32], 0.01
        return {"boxes": boxes, "scores": scores}

    pose = FakeEngine(poses_at(32, 16))
    poses = run_steps(TopDown(top_down(), FakeEngine(detect), pose, 2), FRAMES)
    assert sum(len(crops) for crops in pose.seen) == 3
    # a 40 x 40 box on 64 x 64 crops: 0.625 px each; the second box grows from 40 x 60 to 60 x 60
    np.testing.assert_allclose(poses.xy[0, 0, 0], [10 + 32 * 0.625, 20 + 16 * 0.625])
    np.testing.assert_allclose(poses.xy[0, 1, 0], [70 + 32 * 0.9375, 40 + 16 * 0.9375])
    np.testing.assert_allclose(poses.xy[2, 0, 1], [16, 8])
    assert np.isnan(poses.xy[1]).all() and np.isnan(poses.score[1]).all()
    assert np.isnan(poses.score[2, 1]).all()
    np.testing.assert_allclose(poses.boxes.xywh[0], [[10, 20, 40, 40], [80, 40, 40, 60]])
    assert np.isnan(poses.boxes.score[1]).all()
    assert poses.boxes.score[2].tolist()[0] == pytest.approx(0.01)


def test_boxes_come_back_from_the_detectors_letterbox():
    def detect(images):
        assert images.shape == (3, 80, 80, 3)
        boxes = np.tile(np.float32([10, 10, 30, 20]), (3, 1, 1))
        return {"boxes": boxes, "scores": np.ones((3, 1), np.float32)}

    spec = top_down(1, Resize(height=80, width=80))
    poses = run_steps(TopDown(spec, FakeEngine(detect), FakeEngine(poses_at(0, 0)), 1), FRAMES)
    np.testing.assert_allclose(poses.boxes.xywh[0, 0], [20, 20, 40, 20])


def test_no_animal_in_a_whole_batch_runs_no_pose_graph():
    def nothing(images):
        return {"boxes": np.zeros((3, 2, 4), "f4"), "scores": np.zeros((3, 2), "f4")}

    pose = FakeEngine(poses_at(0, 0))
    poses = run_steps(TopDown(top_down(), FakeEngine(nothing), pose, 2), FRAMES)
    assert pose.seen == []
    assert poses.xy.shape == (3, 2, 2, 2) and np.isnan(poses.xy).all()


def test_crops_go_to_the_engine_in_batches_of_the_frames():
    def detect(images):
        boxes = np.tile(np.float32([10, 10, 30, 20]), (3, 2, 1))
        return {"boxes": boxes, "scores": np.ones((3, 2), np.float32)}

    pose = FakeEngine(poses_at(0, 0))
    run_steps(TopDown(top_down(), FakeEngine(detect), pose, 2), FRAMES)
    assert [len(crops) for crops in pose.seen] == [3, 3]
