"""Figures worked out by hand; a random comparison with DeepLabCut's own agrees to 1e-13."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

from dlc_deploy.errors import InputError
from dlc_deploy.training.metrics import compute_identity_scores, compute_metrics

SQUARE = ((10.0, 10.0), (30.0, 10.0), (10.0, 30.0), (30.0, 30.0))


def animal(*offsets, xy=SQUARE, score=2.0):
    """A square of 20 px with corners moved by ``offsets`` (dx, dy), all by the last one."""
    moved = np.array(xy) + np.array([*offsets, *[offsets[-1]] * len(xy)][: len(xy)])
    return np.column_stack([moved, np.full(len(xy), score)])


def figures(truth, found, **options):
    return compute_metrics({"a.png": np.array(truth)}, {"a.png": np.array(found)}, **options)


def test_the_error_is_the_mean_distance():
    found = animal((3, 4), (0, 0), score=0.9)
    result = figures([animal((0, 0))], [found], single_animal=True)
    assert result["rmse"] == pytest.approx(5 / 4)
    assert result["rmse_pcutoff"] == pytest.approx(5 / 4)


def test_only_keypoints_from_the_cutoff_on_count_for_the_second_error():
    found = animal((3, 4), (0, 0), score=0.9)
    found[1:, 2] = 0.6, 0.59, 0.2
    result = figures([animal((0, 0))], [found], single_animal=True, pcutoff=0.6)
    assert result["rmse_pcutoff"] == pytest.approx(5 / 2)
    per_bodypart = figures([animal((0, 0))], [found], single_animal=True, pcutoff=[0, 0, 0, 0])
    assert per_bodypart["rmse_pcutoff"] == pytest.approx(5 / 4)
    none = figures([animal((0, 0))], [found], single_animal=True, pcutoff=[1, 1, 1, 0.2])
    assert none["rmse_pcutoff"] == 0
    assert np.isnan(figures([found], [found], single_animal=True, pcutoff=1)["rmse_pcutoff"])


def test_keypoints_that_are_not_labelled_or_not_found_have_no_error():
    truth, found = animal((0, 0)), animal((3, 4), score=0.9)
    truth[0, 2] = 0
    found[1] = -1
    found[2, :2] = np.nan
    result = figures([truth], [found], single_animal=True, per_keypoint_rmse=True)
    assert result["rmse"] == pytest.approx(5)
    errors = [result[f"rmse_keypoint_{place}"] for place in range(4)]
    np.testing.assert_allclose(errors, [np.nan, np.nan, np.nan, 5])


def test_unique_bodyparts_count_along_and_have_the_last_cutoffs():
    corner, seen = np.array([[[5.0, 5, 2]]]), np.array([[[5.0, 15, 0.4]]])
    unique = {"unique_bodypart_gt": {"a.png": corner}, "unique_bodypart_poses": {"a.png": seen}}
    found = [animal((0, 0), score=0.9)]
    result = figures([animal((0, 0))], found, per_keypoint_rmse=True, **unique)
    assert result["rmse"] == pytest.approx(10 / 5)
    assert result["rmse_pcutoff"] == 0
    assert result["rmse_unique_keypoint_0"] == pytest.approx(10)
    assert result["rmse_detections"] == pytest.approx(10 / 5)
    listed = figures([animal((0, 0))], found, pcutoff=[0.6] * 4 + [0.4], **unique)
    assert listed["rmse_pcutoff"] == pytest.approx(10 / 5)


def test_several_animals_are_matched_with_the_most_similar_prediction():
    here, there = animal((0, 0)), animal((100, 0))
    found = [animal((101, 0), score=0.9), animal((0, 2), score=0.8)]
    result = figures([here, there], found)
    assert result["rmse"] == pytest.approx((1 + 2) / 2)


def test_the_more_confident_of_two_predictions_has_the_animal_and_the_other_stays_alone():
    here, there = animal((0, 0)), animal((22, 0))
    found = [animal((1, 0), score=0.7), animal((0, 2), score=0.9)]
    # Pycocotools would give the animal at x + 22 to the left-over one, 21 px away.
    assert figures([here, there], found)["rmse"] == pytest.approx(2)


def test_a_prediction_far_from_every_animal_is_no_error():
    # exp(-d² / (2 · 20 · 20 · 0.2²)) is below 1e-6 from 21.03 px on.
    near, far = animal((0, 21), score=0.9), animal((0, 21.1), score=0.9)
    assert figures([animal((0, 0))], [near])["rmse"] == pytest.approx(21)
    assert np.isnan(figures([animal((0, 0))], [far])["rmse"])


def test_precision_and_recall_count_coco_thresholds():
    # OKS of a move by d px: exp(-d² / 32); 2 px: 0.8825, which reaches 0.50 ... 0.85, 8 of 10.
    result = figures([animal((0, 0))], [animal((0, 2), score=0.9)])
    assert result["mAP"] == pytest.approx(80)
    assert result["mAR"] == pytest.approx(80)


def test_a_confident_wrong_prediction_lowers_precision_but_not_recall():
    wrong = animal((500, 0), score=0.95)
    result = figures([animal((0, 0))], [animal((0, 0), score=0.9), wrong])
    assert result["mAP"] == pytest.approx(50)
    assert result["mAR"] == pytest.approx(100)
    late = figures([animal((0, 0))], [animal((0, 0), score=0.97), wrong])
    assert late["mAP"] == pytest.approx(100)


def test_half_of_the_animals_found_is_half_of_the_recall():
    result = figures([animal((0, 0)), animal((100, 0))], [animal((0, 0), score=0.9)])
    assert result["mAR"] == pytest.approx(50)
    assert result["mAP"] == pytest.approx(100 * 51 / 101)  # recalls 0.00 ... 0.50 are reached


def test_sigma_and_margin_widen_the_similarity():
    truth, found = [animal((0, 0))], [animal((0, 2), score=0.9)]
    # A sigma of 0.2: exp(-4 / 128) = 0.969; sides of 20 + 2 · 10: exp(-4 / 128) as well.
    for options in ({"oks_sigma": 0.2}, {"oks_sigma": np.full(4, 0.2)}, {"oks_bbox_margin": 10}):
        assert figures(truth, found, **options)["mAP"] == pytest.approx(100), options


def test_animals_of_one_keypoint_or_without_an_area_have_no_precision():
    flat = np.array([[10.0, 10, 2], [30, 10, 2]])
    assert figures([flat], [flat])["mAP"] == 0
    point = np.array([[10.0, 10, 2], [0, 0, 0]])
    result = figures([point], [point])
    assert result["mAP"] == 0 and np.isnan(result["rmse"])
    assert figures([point], [point], single_animal=True)["rmse"] == 0


def test_a_prediction_of_one_keypoint_lowers_no_precision():
    lone = animal((500, 0), score=0.95)
    lone[1:] = -1
    assert figures([animal((0, 0))], [animal((0, 0), score=0.9), lone])["mAP"] == pytest.approx(100)


def test_keypoints_of_mixed_up_animals_are_right_as_detections():
    here, there = animal((0, 0), score=2.0), animal((100, 0))
    mixed = [animal((0, 0), score=0.9), animal((100, 0), score=0.8)]
    mixed[0][3], mixed[1][3] = mixed[1][3].copy(), mixed[0][3].copy()
    result = figures([here, there], mixed, pcutoff=0.85)
    assert result["rmse"] == pytest.approx(2 * 100 / 8)
    assert result["rmse_detections"] == pytest.approx(0)
    assert result["rmse_detections_pcutoff"] == pytest.approx(0)
    assert "rmse_detections" not in figures([here], mixed[:1], compute_detection_rmse=False)


def test_nothing_at_all_has_no_error_and_a_precision_of_zero():
    nothing = np.zeros((0, 4, 3))
    for truth, found in (([animal((0, 0))], nothing), (nothing, nothing)):
        result = figures(truth, found, per_keypoint_rmse=True)
        assert np.isnan([result["rmse"], result["rmse_pcutoff"], result["rmse_keypoint_0"]]).all()
        assert result["mAP"] == result["mAR"] == 0
    unlabelled = figures(nothing, [animal((0, 0), score=0.9)])
    assert unlabelled["mAP"] == 0 and np.isnan(unlabelled["mAR"])


def test_more_values_than_three_are_cut_and_inputs_stay_as_they_are():
    truth, found = animal((0, 0)), np.c_[animal((0, 2), score=0.9), np.ones((4, 2))]
    truth[0, 2] = 0
    given = truth.copy(), found.copy()
    assert figures([truth], [found])["rmse"] == pytest.approx(2)
    np.testing.assert_array_equal(truth, given[0])
    np.testing.assert_array_equal(found, given[1])


@pytest.mark.parametrize(
    ("found", "options", "message"),
    [
        ({}, {}, "a.png: expected predictions"),
        ({"a.png": np.zeros((1, 3, 3))}, {}, "the same bodyparts"),
        ({"a.png": np.zeros((1, 4, 2))}, {}, "3 or more"),
        ({"a.png": np.zeros((1, 4, 3))}, {"pcutoff": [0.5]}, "one pcutoff for each of the 4"),
        ({"a.png": np.ones((2, 4, 3))}, {"single_animal": True}, "at most one labelled animal"),
        ({"a.png": np.ones((1, 4, 3))}, {"unique_bodypart_gt": {}}, "only one of them"),
    ],
)
def test_what_does_not_fit_together_is_refused(found, options, message):
    with pytest.raises(InputError, match=message):
        compute_metrics({"a.png": animal((0, 0))[None]}, found, **options)


def test_identities_are_held_against_the_nearest_prediction_of_the_bodypart():
    truth = np.array([animal((0, 0)), animal((100, 0))])
    found = truth[::-1].copy()
    scores = np.zeros((2, 4, 2))
    scores[0, :, 1] = scores[1, :, 0] = 1
    scores[0, 3] = scores[0, 3, ::-1]  # one of the two last corners is taken for the other animal
    truth[0, 2, 2], scores[1, 2] = 0, scores[1, 2, ::-1]  # wrong, but nobody knows
    found[0, 1] = np.nan
    result = compute_identity_scores(
        ["one", "two"], list("abcd"), {"i": found}, {"i": scores}, {"i": truth}
    )
    # Of "b" only the other animal's prediction is left, which the nearer label has.
    expected = {"a_accuracy": 1, "b_accuracy": 1, "c_accuracy": 1, "d_accuracy": 0.5}
    assert result == pytest.approx(expected)


def test_identities_of_bodyparts_that_were_nowhere_found_are_unknown():
    truth, found = animal((0, 0))[None], np.full((1, 4, 3), np.nan)
    result = compute_identity_scores(
        ["one"], list("abcd"), {"i": found}, {"i": np.ones((1, 4, 1))}, {"i": truth}
    )
    assert np.isnan(list(result.values())).all()
    with pytest.raises(InputError, match="no others"):
        compute_identity_scores(["one"], list("abcd"), {}, {}, {"i": truth})


def test_metrics_do_not_need_torch():
    code = "import sys, dlc_deploy.training.metrics; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
