"""Our files of the same poses against those that DeepLabCut's analyze_videos wrote."""

from __future__ import annotations

import pickle

import numpy as np
import pandas as pd
import pytest

from dlc_deploy.poses import Poses
from dlc_deploy.runtime.outputs.assemblies import write_assemblies
from dlc_deploy.runtime.outputs.meta import meta
from dlc_deploy.runtime.outputs.pickles import write_full_pickle
from dlc_deploy.runtime.outputs.tables import to_dataframe, write_csv, write_h5
from dlc_deploy.runtime.outputs.track import Track
from tests.reference import REFERENCE, needs_reference
from tests.tracks import manifest, report

pytestmark = needs_reference
FOLDER = REFERENCE / "preprocess" / "outputs"
PROJECTS = {
    "single": (("individual_1",), ()),
    "multi": (("mouse1", "mouse2", "mouse3"), ()),
    "multi_unique_identity": (("mouse1", "mouse2", "mouse3"), ("corner1", "corner2")),
}
BODYPARTS = ("snout", "leftear", "rightear", "tailbase")


class Project:
    """DeepLabCut's files of a made-up project, and a track of the poses in them."""

    def __init__(self, name):
        self.individuals, self.unique = PROJECTS[name]
        (self.h5,) = (path for path in (FOLDER / name).glob("*.h5") if "_el" not in path.name)
        self.full = self.read("_full.pickle")
        frames = [entry for key, entry in self.full.items() if key != "metadata"]
        joints = [
            [np.hstack(pair) for pair in zip(e["coordinates"][0], e["confidence"], strict=True)]
            for e in frames
        ]
        parts = len(BODYPARTS)
        found = np.array([frame[:parts] for frame in joints]).swapaxes(1, 2)
        unique, identity = None, None
        if self.unique:
            unique = as_poses(np.array([frame[parts:] for frame in joints]).swapaxes(1, 2))
        if "identity" in frames[0]:
            identity = np.array([e["identity"][:parts] for e in frames]).swapaxes(1, 2)
        poses = as_poses(found, unique, identity)
        scorer = self.h5.stem[self.h5.stem.index("DLC_") :]
        made = manifest(self.individuals, BODYPARTS, self.unique, scorer)
        self.track = Track(made, 0, poses)

    def read(self, suffix):
        return pickle.loads(self.h5.with_name(self.h5.stem + suffix).read_bytes())


def as_poses(values, unique=None, identity=None):
    """Poses of DeepLabCut's values [N, I, K, 3]."""
    values = values.astype(np.float32)
    absent = (values[..., 2] < 0).all(axis=2)
    values[absent] = np.nan
    if identity is not None:
        identity = identity.astype(np.float32)
        # the identity of what is not there is whatever the corner of the frame looks like
        identity[absent] = np.nan
    return Poses(values[..., :2], values[..., 2], unique=unique, identity=identity)


@pytest.fixture(params=PROJECTS, scope="module")
def project(request):
    return Project(request.param)


def assert_same(ours, theirs, path=""):
    """Same types, keys, shapes and values; numbers in float32 where DeepLabCut's made-up poses are
    float64 (those of its networks are float32)."""
    assert type(ours) is type(theirs), path
    if isinstance(ours, dict):
        assert list(ours) == list(theirs), path
        for key in ours:
            assert_same(ours[key], theirs[key], f"{path}/{key}")
    elif isinstance(ours, list | tuple):
        assert len(ours) == len(theirs), path
        for number, pair in enumerate(zip(ours, theirs, strict=True)):
            assert_same(*pair, f"{path}/{number}")
    elif isinstance(ours, np.ndarray):
        assert ours.shape == theirs.shape, path
        np.testing.assert_array_equal(ours, theirs.astype(np.float32).astype(ours.dtype), path)
    else:
        assert ours == theirs, path


def without_identities_of_the_absent(content):
    """DeepLabCut's full data with -1 where the animal is not there."""
    for key, entry in content.items():
        if key != "metadata" and "identity" in entry:
            gone = (np.array(entry["confidence"][: len(BODYPARTS)])[..., 0] < 0).all(axis=0)
            entry["identity"] = [np.where(gone[:, None], -1, one) for one in entry["identity"]]
    return content


def test_the_full_pickle_is_deeplabcuts(project, tmp_path):
    write_full_pickle(project.track, tmp_path / "t.pickle")
    ours = pickle.loads((tmp_path / "t.pickle").read_bytes())
    assert ("identity" in ours["frame00"]) == ("corner1" in project.unique)
    assert_same(ours, without_identities_of_the_absent(project.read("_full.pickle")))


def test_the_assemblies_are_deeplabcuts(project, tmp_path):
    if len(project.individuals) == 1:
        pytest.skip("DeepLabCut writes none for a single animal")
    write_assemblies(project.track, tmp_path / "t.pickle")
    ours = pickle.loads((tmp_path / "t.pickle").read_bytes())
    theirs = project.read("_assemblies.pickle")
    for animals in [value for key, value in theirs.items() if key != "single"]:
        if project.track.poses.identity is not None:  # see as_poses
            animals[(animals[..., 2] < 0).all(axis=1), :, 3] = 0
    assert sum(len(animals) for animals in ours.values()) > 100
    assert ours[0].dtype == theirs[0].dtype
    assert_same(ours, theirs)


def test_the_tables_are_deeplabcuts(project, tmp_path):
    write_h5(to_dataframe(project.track), tmp_path / "t.h5")
    ours, theirs = pd.read_hdf(tmp_path / "t.h5"), pd.read_hdf(project.h5)
    pd.testing.assert_frame_equal(ours, theirs.astype(np.float32), check_column_type=False)
    write_csv(ours, tmp_path / "t.csv")
    header = ours.columns.nlevels
    texts = [path.read_text().splitlines() for path in (tmp_path / "t.csv", _csv(project))]
    assert texts[0][:header] == texts[1][:header] and len(texts[0]) == len(texts[1])


def _csv(project):
    return project.h5.with_suffix(".csv")


def test_the_meta_pickle_has_the_keys_that_deeplabcuts_has(project):
    ours = meta(project.track, report())["data"]
    # DeepLabCut's file cannot be unpickled without deeplabcut; its strings can be read
    theirs = project.h5.with_name(project.h5.stem + "_meta.pickle").read_bytes()
    assert all(key.encode() in theirs for key in ours) and len(ours) == 16
    assert ours["Scorer"].encode() in theirs
