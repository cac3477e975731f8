from __future__ import annotations

import json
import shutil
import threading
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import dlc_deploy
from dlc_deploy.command import main
from dlc_deploy.errors import UsageError
from dlc_deploy.manifest import ConditionsModel, Manifest, Origin, PoseGraph
from dlc_deploy.poses import Poses
from dlc_deploy.preprocessing import (
    ConditionPreprocessing,
    CropPreprocessing,
    FramePreprocessing,
    Normalization,
    Resize,
)
from dlc_deploy.runtime.pipelines import ConditionalTopDown, connect, run_steps
from dlc_deploy.runtime.pipelines.conditional_top_down import rescored
from tests.tiny_bundle import SCORER, TAIL, dot, frame, write_bundle, write_dot_video

FRAMES = np.zeros((2, 120, 160, 3), np.uint8)
CROP = 64
NAN = np.nan
FIRST = [[40, 30, 0.8], [60, 50, 0.6]]
SECOND = [[100, 80, 0.5], [130, 60, 0.3]]


class Refiner:
    """An engine that moves conditions by one crop pixel, and remembers them."""

    device, description = "cpu", "fake"

    def __init__(self, scores=(0.9, 0.7)):
        self.scores, self.seen = np.float32(scores), []

    def run(self, inputs):
        self.seen.append(inputs)
        poses = inputs["conditions"][:, None].copy()
        poses[..., :2] += 1
        poses[..., 2] = self.scores
        return {"poses": poses}

    def close(self):
        pass


def graph(**changes):
    content = dict(file="p", precision="fp32", size=None, normalization=Normalization())
    return PoseGraph(**content | changes)


def manifest(margin=10, crop=None, conditions=None, individuals=2):
    pose = graph(
        crop=crop or CropPreprocessing(height=CROP, width=CROP, with_context=False),
        condition=ConditionPreprocessing(bbox_margin=margin),
    )
    return Manifest(
        method="ctd",
        net_type="ctd_coam_w32",
        scorer="scorer",
        bodyparts=("snout", "tail"),
        individuals=("a", "b"),
        max_individuals=individuals,
        pose=pose,
        conditions=conditions,
        origin=Origin(snapshot="snapshot-010.pt"),
        tools={},
        created="",
        files={},
    )


def poses(*frames):
    values = np.array(frames, np.float32)
    return Poses(values[..., :2], values[..., 2])


ABSENT = [[NAN] * 3] * 2


def refine(*frames, engine=None, individuals=2, **options):
    pipeline = ConditionalTopDown(manifest(**options), engine or Refiner(), individuals, None)
    return pipeline.refine(FRAMES[: len(frames)], poses(*frames))


def test_each_condition_is_cropped_with_a_margin_and_refined_in_pixels_of_its_crop():
    engine = Refiner()
    found = refine([FIRST, SECOND], engine=engine)
    # keypoints (40, 30) and (60, 50) with 10 px around: (30, 20) to (70, 60), 0.625 px a pixel
    np.testing.assert_allclose(found.boxes.xywh[0, 0], [30, 20, 40, 40])
    crops = np.concatenate([inputs["images"] for inputs in engine.seen])
    given = np.concatenate([inputs["conditions"] for inputs in engine.seen])
    assert crops.shape == (2, CROP, CROP, 3) and crops.dtype == np.uint8
    assert given.dtype == np.float32
    np.testing.assert_allclose(given[0], [[16, 16, 0.8], [48, 48, 0.6]])
    np.testing.assert_allclose(found.xy[0, 0], [[40.625, 30.625], [60.625, 50.625]])


def test_an_animal_has_one_score_the_conditions_times_its_own():
    found = refine([FIRST, SECOND], engine=Refiner(scores=(0.9, 0.1)))
    # 0.1 is below the cutoff of 0.2 and does not count
    np.testing.assert_allclose(found.score[0, 0], 0.7 * 0.9, rtol=1e-6)
    np.testing.assert_allclose(found.score[0, 1], 0.4 * 0.9, rtol=1e-6)


def test_an_animal_whose_scores_are_all_low_has_the_score_zero():
    assert rescored(np.float32([[0.19, 0.1]]), np.float32([[0.9, 0.9]]), 0.2).tolist() == [0]
    assert rescored(np.float32([[0.2, 0.1]]), np.float32([[1, 1]]), 0.2) == pytest.approx([0.2])


def test_the_crop_of_a_condition_with_context_grows_to_the_shape_of_the_crop():
    crop = CropPreprocessing(height=CROP, width=2 * CROP, with_context=True)
    engine = Refiner()
    refine([FIRST], engine=engine, crop=crop)
    # (30, 20) to (70, 60) grows to (10, 20) to (90, 60)
    np.testing.assert_allclose(engine.seen[0]["conditions"][0, 0], [48, 16, 0.8])


@pytest.mark.parametrize(
    "unusable",
    [
        ABSENT,
        [[-1, -1, -1]] * 2,
        [[40, 30, 0.04], [60, 50, 0.02]],
        [[NAN, NAN, 0.9], [NAN, NAN, 0.9]],
        [[40, 30, 0], [60, 50, NAN]],
        [[-5, 30, 0.9], [-3, 50, 0.9]],
        [[170.5, 30, 0.9], [180, 50, 0.9]],
    ],
)
def test_what_is_not_worth_refining_is_absent_and_later_animals_move_up(unusable):
    engine = Refiner()
    found = refine([unusable, SECOND], [ABSENT, ABSENT], engine=engine)
    assert sum(len(inputs["images"]) for inputs in engine.seen) == 1
    np.testing.assert_allclose(found.boxes.xywh[0, 0], [90, 50, 50, 40])
    assert np.isfinite(found.xy[0, 0]).all()
    assert np.isnan(found.xy[0, 1]).all() and np.isnan(found.score[0, 1]).all()
    assert np.isnan(found.xy[1]).all() and np.isnan(found.boxes.score[1]).all()


def test_keypoints_without_a_place_or_score_do_not_widen_the_box():
    for missing in ([NAN, NAN, 0.0], [150, 100, 0.0], [NAN, NAN, 0.9]):
        found = refine([[[40, 30, 0.8], missing]])
        np.testing.assert_allclose(found.boxes.xywh[0, 0], [30, 20, 20, 20])


def test_an_absent_keypoint_counts_as_a_score_of_zero():
    found = refine([[[40, 30, 0.8], [NAN, NAN, NAN]]], engine=Refiner(scores=(1, 1)))
    np.testing.assert_allclose(found.score[0, 0], 0.4, rtol=1e-6)


def test_boxes_are_clipped_to_the_frame():
    found = refine([[[2, 3, 0.8], [155, 118, 0.6]]])
    np.testing.assert_allclose(found.boxes.xywh[0, 0], [0, 0, 160, 120])


def test_of_too_many_conditions_the_best_are_refined_in_their_order():
    third = [[20, 20, 0.9], [30, 30, 0.9]]
    found = refine([SECOND, third, FIRST])
    assert found.score.shape == (1, 2, 2)
    np.testing.assert_allclose(found.boxes.score[0], [0.9, 0.7])
    np.testing.assert_allclose(found.boxes.xywh[0, 0], [10, 10, 30, 30])


def test_frames_without_any_condition_give_absent_animals_and_run_nothing():
    engine = Refiner()
    pipeline = ConditionalTopDown(manifest(), engine, 2, None)
    nobody = Poses(np.zeros((2, 0, 2, 2), np.float32), np.zeros((2, 0, 2), np.float32))
    found = pipeline.refine(FRAMES, nobody)
    assert engine.seen == [] and found.xy.shape == (2, 2, 2, 2) and np.isnan(found.xy).all()


def test_crops_go_to_the_engine_in_batches_of_the_frames():
    engine = Refiner()
    refine([FIRST, SECOND], [FIRST, ABSENT], engine=engine)
    assert [len(inputs["images"]) for inputs in engine.seen] == [2, 1]
    assert [len(inputs["conditions"]) for inputs in engine.seen] == [2, 1]


def test_conditions_of_other_frames_or_keypoints_are_refused():
    pipeline = ConditionalTopDown(manifest(), Refiner(), 2, None)
    for given in (poses([FIRST]), poses([FIRST[:1]], [FIRST[:1]])):
        with pytest.raises(ValueError, match="2 frames and 2 keypoints"):
            pipeline.refine(FRAMES, given)


def test_conditions_in_double_precision_are_taken_as_well():
    engine, given = Refiner(), poses([FIRST], [FIRST])
    pipeline = ConditionalTopDown(manifest(), engine, 2, None)
    expected = pipeline.refine(FRAMES, given)
    doubled = Poses(given.xy.astype(np.float64), given.score.astype(np.float64))
    found = pipeline.refine(FRAMES, doubled)
    assert [inputs["conditions"].dtype for inputs in engine.seen] == [np.float32] * 2
    np.testing.assert_array_equal(found.xy, expected.xy)


class Finder(Refiner):
    """An engine that gives the same pose for every image."""

    def run(self, inputs):
        self.seen.append(inputs)
        return {"poses": np.tile(np.float32([[FIRST]]), (len(inputs["images"]), 1, 1, 1))}


def test_the_conditions_model_sees_whole_frames_and_its_poses_are_refined_in_the_frame():
    frames = FramePreprocessing(resize=Resize(height=60, width=80))
    model = ConditionsModel(net_type="resnet_50", max_individuals=1, pose=graph(frame=frames))
    engines = {"pose": Refiner(), "conditions": Finder()}
    pipeline = connect(manifest(conditions=model, margin=0), engines, 2)
    found = run_steps(pipeline, FRAMES)
    assert engines["conditions"].seen[0]["images"].shape == (2, 60, 80, 3)
    # the finder's (40, 30) and (60, 50) lie at twice of that in the frame
    np.testing.assert_allclose(found.boxes.xywh[:, 0], [[80, 60, 40, 40]] * 2)
    assert np.isnan(found.score[:, 1]).all()
    np.testing.assert_allclose(pipeline.find(FRAMES).xy[1, 0, 0], [80, 60])
    assert pipeline.engines == engines


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    pytest.importorskip("onnxruntime")
    folder = tmp_path_factory.mktemp("made")
    write_bundle(folder / "refiner", conditional=True)
    write_bundle(folder / "bare", conditional=True, finder=False)
    write_bundle(folder / "finder")
    write_bundle(folder / "detecting", top_down=True)
    write_dot_video(folder / "dot.mp4", 12)
    write_conditions(folder / "dot.json", range(12))
    return folder


def write_conditions(path, frames):
    """For each frame the dot, with the tail 3 pixels below it."""
    places = [dot(number) for number in frames]
    path.write_text(json.dumps([[[[x, y, 1], [x, y + 3, 1]]] for x, y in places]))
    return path


def test_an_estimator_refines_what_the_bundles_own_model_finds(made):
    with dlc_deploy.load(made / "refiner") as pose:
        found = pose(frame((40, 30), 96, 64))
        assert set(pose.pipeline.engines) == {"pose", "conditions"}
    np.testing.assert_allclose(found.xy[0, 0], [(40, 30), np.add((40, 30), TAIL)], atol=0.5)
    np.testing.assert_allclose(found.score[0, 0], (250 / 255) ** 2, rtol=1e-3)


def test_an_estimator_refines_what_another_bundle_finds(made):
    for bundle in ("bare", "refiner"):
        with dlc_deploy.load(made / bundle, conditions=made / "finder") as pose:
            found = pose(frame((40, 30), 96, 64))
            assert pose.conditions.path == made / "finder"
        np.testing.assert_allclose(found.xy[0, 0], [(40, 30), np.add((40, 30), TAIL)], atol=0.5)


@pytest.mark.parametrize("bundle", ["bare", "refiner"])
def test_all_engines_are_named_and_closed(made, bundle):
    with dlc_deploy.load(made / bundle, conditions=made / "detecting") as pose:
        engines = pose.pipeline.engines
        assert set(engines) == {"pose", "conditions", "conditions_detector"}
        assert np.isfinite(pose(frame((40, 30), 96, 64)).xy).all()
    for name, engine in engines.items():
        inputs = {"images": np.zeros((1, 64, 64, 3), np.uint8)}
        if name == "pose":
            inputs["conditions"] = np.zeros((1, 2, 3), np.float32)
        with pytest.raises(Exception, match="closed"):
            engine.run(inputs)


def test_an_estimator_refines_given_poses(made):
    known = poses([[[41, 31, 0.5], [50, 20, 0.5]]])
    with dlc_deploy.load(made / "bare") as pose:
        found = pose(frame((40, 30), 96, 64), conditions=known)
    np.testing.assert_allclose(found.xy[0, 0], [(40, 30), (50, 20)], atol=0.5)
    np.testing.assert_allclose(found.score[0, 0], 250 / 255 * 0.5, rtol=1e-3)


def test_a_bundle_without_conditions_says_how_to_give_them(made):
    with (
        dlc_deploy.load(made / "bare") as pose,
        pytest.raises(UsageError, match="Give them with --conditions"),
    ):
        pose(frame((40, 30), 96, 64))


def test_conditions_for_a_bundle_that_takes_none_are_refused(made):
    with pytest.raises(UsageError, match="method bu"):
        dlc_deploy.load(made / "finder", conditions=made / "finder")
    with (
        dlc_deploy.load(made / "finder") as pose,
        pytest.raises(UsageError, match="method bu"),
    ):
        pose(frame((40, 30), 96, 64), conditions=poses([FIRST]))


def test_a_bundle_of_other_bodyparts_gives_no_conditions(made, tmp_path):
    from dlc_deploy.bundle import Bundle
    from tests.tiny_bundle import seal

    other = Path(shutil.copytree(made / "finder", tmp_path / "other"))
    changed = Bundle.open(other).manifest.model_copy(update={"bodyparts": ("tail", "snout")})
    seal(other, changed)
    with pytest.raises(UsageError, match=r"\['snout', 'tail'\], got \['tail', 'snout'\]"):
        dlc_deploy.load(made / "bare", conditions=other)


@pytest.fixture
def analyze(made, tmp_path, capfd):
    """Run dlc-analyze on a copy of the video; its exit status and what it wrote."""
    video = Path(shutil.copy(made / "dot.mp4", tmp_path / "dot.mp4"))

    def run(bundle, *words, videos=(video,)):
        threads = threading.active_count()
        capfd.readouterr()
        status = main(["analyze", str(made / bundle), *map(str, (*videos, *words))])
        assert threading.active_count() == threads
        return status, *capfd.readouterr()

    return run


def results(tmp_path):
    table = pd.read_hdf(tmp_path / f"dot{SCORER}.h5")[SCORER]
    report = json.loads((tmp_path / f"dot{SCORER}.run.json").read_text())
    return table, report


@pytest.mark.parametrize("bundle", ["bare", "refiner"])
def test_a_video_is_analysed_with_conditions_of_a_file(analyze, made, tmp_path, bundle):
    status, _, _ = analyze(bundle, "--conditions", made / "dot.json", "--frames", "3:9")
    assert status == 0
    table, report = results(tmp_path)
    assert table.index.tolist() == list(range(3, 9))
    expected = np.array([dot(number) for number in range(3, 9)])
    np.testing.assert_allclose(table["snout"][["x", "y"]], expected, atol=0.5)
    np.testing.assert_allclose(table["tail"][["x", "y"]], np.add(expected, (0, 3)), atol=1e-3)
    assert report["conditions"] == "dot.json" and report["warnings"] == []
    assert set(report["stages"]) == {"decode", "crop", "pose"}


def test_a_video_is_analysed_with_conditions_of_a_bundle(analyze, made, tmp_path):
    status, _, _ = analyze("bare", "--conditions", made / "finder")
    assert status == 0
    table, report = results(tmp_path)
    expected = np.array([dot(number) for number in range(12)])
    np.testing.assert_allclose(table["snout"][["x", "y"]], expected, atol=0.5)
    assert report["conditions"] == dlc_deploy.load(made / "finder").bundle.manifest.fingerprint
    stages = ["decode", "conditions prepare", "conditions pose", "crop", "pose"]
    assert list(report["stages"]) == stages


def test_a_video_is_analysed_with_the_bundles_own_conditions_model(analyze, tmp_path):
    assert analyze("refiner")[0] == 0
    table, report = results(tmp_path)
    expected = np.array([dot(number) for number in range(12)])
    np.testing.assert_allclose(table["tail"][["x", "y"]], expected + TAIL, atol=1)
    assert report["conditions"] is None and set(report["engines"]) == {"pose", "conditions"}


def test_frames_that_the_file_does_not_know_are_absent_and_counted(analyze, tmp_path):
    short = write_conditions(tmp_path / "short.json", range(7))
    status, out, _ = analyze("bare", "--conditions", short)
    assert status == 0
    table, report = results(tmp_path)
    assert (table.loc[7:] == -1).all(axis=None) and (table.loc[:6] > 0).all(axis=None)
    warning = "5 of 12 frames have no entry in the file of conditions"
    assert report["warnings"] == [warning] and warning in out


def test_a_video_without_conditions_is_refused_before_anything_is_written(analyze, tmp_path):
    status, _, error = analyze("bare", "-o", tmp_path / "results")
    assert status == 2 and "Give them with --conditions" in error
    assert not (tmp_path / "results").exists()


def test_a_file_of_conditions_is_of_one_video(analyze, made, tmp_path):
    videos = [shutil.copy(made / "dot.mp4", tmp_path / f"{name}.mp4") for name in "ab"]
    status, _, error = analyze("bare", "--conditions", made / "dot.json", videos=videos)
    assert status == 2 and "a file holds the poses of one video" in error


@pytest.mark.parametrize("given", ["dot.json", "finder"])
def test_conditions_for_another_bundle_are_refused_by_the_command(analyze, made, given):
    status, _, error = analyze("finder", "--conditions", made / given)
    assert status == 2 and "method bu. Leave the conditions out" in error
