"""The whole way on the example project, through the commands: snapshots to bundles, the video to
files, and these against the files that DeepLabCut wrote."""

from __future__ import annotations

import io
import json
import pickle
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from tests.reference import REFERENCE, needs_reference

pytest.importorskip("torch")
pytest.importorskip("onnxruntime")

from dlc_deploy.command import main
from dlc_deploy.runtime.outputs.tables import KEY
from dlc_deploy.runtime.video.reader import VideoReader

pytestmark = [
    needs_reference,
    pytest.mark.torch,
    pytest.mark.slow,
]
PROJECT = REFERENCE / "openfield"
VIDEO = PROJECT / "videos" / "m3v1mp4.mp4"
MODELS = PROJECT / "dlc-models-pytorch" / "iteration-0"
FRAMES = 200
SNAPSHOTS = {
    "resnet_50": ("openfieldOct30-trainset95shuffle1", "snapshot-125.pt", None),
    "rtmpose_s": (
        "openfieldOct30-trainset95shuffle2",
        "snapshot-132.pt",
        "snapshot-detector-best-030.pt",
    ),
}
# What we reach: our reader gives DeepLabCut's pixels, so only float32 rounding is left, 3e-5 of a
# coordinate of 500 px and some of the network. The last percent is for peaks of nearly equal
# height, of which another CPU may choose another.
REACHED_P99_PX = 1e-3
CONTRACT_MEDIAN_PX, CONTRACT_P99_PX = 0.05, 1.0
MIN_SCORE = 0.3


@dataclass
class Analysis:
    """Our files of one model beside DeepLabCut's."""

    model: str
    bundle: Path
    ours: Path
    theirs: Path

    def paths(self, suffix):
        """Our file and DeepLabCut's."""
        found = [sorted(folder.glob(f"*{suffix}")) for folder in (self.ours, self.theirs)]
        assert [len(paths) for paths in found] == [1, 1]
        return [paths[0] for paths in found]

    def tables(self):
        return [pd.read_hdf(path, KEY) for path in self.paths(".h5")]

    def poses(self):
        """[frames, keypoints, 3] of both."""
        return [table.to_numpy().reshape(FRAMES, -1, 3) for table in self.tables()]

    def pickles(self):
        return [NumpyOnly(path.read_bytes()).load() for path in self.paths("_full.pickle")]


class NumpyOnly(pickle.Unpickler):
    """NumPy's arrays and nothing else."""

    ALLOWED = ("_reconstruct", "ndarray", "dtype", "scalar", "_frombuffer")

    def __init__(self, content):
        super().__init__(io.BytesIO(content))

    def find_class(self, module, name):
        if module.split(".")[0] != "numpy" or name not in self.ALLOWED:
            raise pickle.UnpicklingError(f"{module}.{name}")
        return super().find_class(module, name)


@pytest.fixture(params=SNAPSHOTS, scope="module")
def analysis(request, tmp_path_factory):
    folder, snapshot, detector = SNAPSHOTS[request.param]
    snapshots = MODELS / folder / "train"
    place = tmp_path_factory.mktemp(request.param)
    detected = ["--detector", str(snapshots / detector)] if detector else []
    bundle, results = place / "bundle", place / "results"
    assert main(["export", str(snapshots / snapshot), *detected, "-o", str(bundle)]) == 0
    arguments = ["--frames", f"0:{FRAMES}", "--csv", "-o", str(results)]
    assert main(["analyze", str(bundle), str(VIDEO), *arguments]) == 0
    return Analysis(request.param, bundle, results, PROJECT / "predictions" / request.param)


def test_files_have_deeplabcuts_names(analysis):
    for suffix in (".h5", ".csv", "_full.pickle"):
        ours, theirs = analysis.paths(suffix)
        assert ours.name == theirs.name


def test_the_export_was_judged_on_the_projects_labelled_images(analysis):
    parity = json.loads((analysis.bundle / "parity.json").read_text())
    assert parity["frames_from"] == "labeled-data of the project"
    assert parity["frames"] == 8
    for graph in parity["graphs"].values():
        assert graph["sure"] and graph["points"] >= 16 and graph["spread"] > 10
        assert graph["px_max"] <= 0.01


def test_the_table_has_deeplabcuts_columns_index_and_dtypes(analysis):
    ours, theirs = analysis.tables()
    assert ours.columns.names == theirs.columns.names
    assert ours.columns.tolist() == theirs.columns.tolist()
    assert ours.index.tolist() == theirs.index.tolist()
    assert (ours.index.dtype, ours.index.name) == (theirs.index.dtype, theirs.index.name)
    assert ours.dtypes.tolist() == theirs.dtypes.tolist()


def test_the_csv_has_deeplabcuts_header_and_numbers(analysis):
    ours, theirs = (path.read_text().splitlines() for path in analysis.paths(".csv"))
    assert ours[:3] == theirs[:3] and len(ours) == len(theirs)
    header = dict(header=[0, 1, 2], index_col=0)
    ours, theirs = (pd.read_csv(path, **header) for path in analysis.paths(".csv"))
    difference = np.abs(ours.to_numpy() - theirs.to_numpy())
    assert np.median(difference) <= REACHED_P99_PX


def test_every_pose_is_deeplabcuts(analysis):
    ours, theirs = analysis.poses()
    sure = theirs[..., 2] >= MIN_SCORE
    assert sure.mean() > 0.5 and theirs[sure][:, :2].std(axis=0).min() > 20
    distance = np.linalg.norm(ours[..., :2] - theirs[..., :2], axis=-1)[sure]
    assert np.median(distance) <= CONTRACT_MEDIAN_PX
    assert np.percentile(distance, 99) <= min(CONTRACT_P99_PX, REACHED_P99_PX)
    np.testing.assert_allclose(ours[..., 2], theirs[..., 2], atol=1e-3)


def test_the_table_holds_what_deeplabcut_predicted_frame_by_frame(analysis):
    predicted = np.load(analysis.theirs / "video_predictions.npz")["bodyparts"][:, 0]
    ours, _ = analysis.poses()
    sure = predicted[..., 2] >= MIN_SCORE
    distance = np.linalg.norm(ours[..., :2] - predicted[..., :2], axis=-1)[sure]
    assert len(distance) > FRAMES and np.percentile(distance, 99) <= REACHED_P99_PX


def test_the_full_pickle_has_deeplabcuts_layout(analysis):
    ours, theirs = analysis.pickles()
    assert list(ours) == list(theirs) and len(ours) == FRAMES + 1
    assert ours["metadata"].keys() == theirs["metadata"].keys()
    for key, value in theirs["metadata"].items():
        assert np.array_equal(ours["metadata"][key], value)
    for key in list(theirs)[1:]:
        assert layout(ours[key]) == layout(theirs[key])


def layout(value):
    """Types, keys, dtypes and shapes, all the way down."""
    if isinstance(value, dict):
        return {key: layout(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return type(value), [layout(entry) for entry in value]
    if isinstance(value, np.ndarray):
        return value.dtype, value.shape
    return value


def test_the_full_pickle_holds_the_poses_of_the_table(analysis):
    content, _ = analysis.pickles()
    table, _ = analysis.poses()
    for frame in range(FRAMES):
        entry = content[f"frame{frame:03}"]
        joints = [
            np.concatenate(pair, axis=1)[0]
            for pair in zip(entry["coordinates"][0], entry["confidence"], strict=True)
        ]
        np.testing.assert_array_equal(joints, table[frame])


def test_boxes_and_their_scores_are_deeplabcuts(analysis):
    if analysis.model == "resnet_50":
        pytest.skip("a bottom-up model has no boxes")
    ours, theirs = analysis.pickles()
    frames = list(theirs)[1:]
    found, wanted = (np.stack([one[f]["bboxes"] for f in frames]) for one in (ours, theirs))
    assert wanted.shape == (FRAMES, 1, 4) and wanted.std(axis=0).min() > 5
    np.testing.assert_allclose(found, wanted, rtol=0, atol=0.01)
    scores = [np.stack([one[f]["bbox_scores"] for f in frames]) for one in (ours, theirs)]
    assert scores[1].min() > 0.5
    np.testing.assert_allclose(*scores, atol=1e-4)
    predicted = np.load(analysis.theirs / "video_predictions.npz")
    np.testing.assert_allclose(found, predicted["bboxes"], rtol=0, atol=0.01)


def test_the_report_counts_the_frames_and_seals_the_files(analysis):
    (path,) = analysis.ours.glob("*.run.json")
    report = json.loads(path.read_text())
    assert report["frames_analyzed"] == FRAMES and not report["missing"]
    assert {entry.name for entry in analysis.ours.iterdir()} == {*report["outputs"], path.name}


@pytest.mark.parametrize("model", SNAPSHOTS)
def test_our_reader_gives_the_frames_that_deeplabcut_saw(model):
    raw = np.load(PROJECT / "predictions" / model / "raw_frames.npz")
    with VideoReader(VIDEO, stop=101) as reader:
        frames = {frame.index: frame.rgb for frame in reader if frame.index in (0, 100)}
    for index, rgb in frames.items():
        assert rgb.std() > 10
        np.testing.assert_array_equal(rgb, raw[f"frame_{index}/image_rgb"])
    assert (frames[0] != frames[100]).any()
