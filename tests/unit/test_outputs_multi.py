"""Files of projects with several animals, unique bodyparts and identities."""

from __future__ import annotations

import pickle
import pickletools
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from dlc_deploy.runtime.outputs.assemblies import assemblies, write_assemblies
from dlc_deploy.runtime.outputs.files import ResultFiles, write_results
from dlc_deploy.runtime.outputs.meta import meta, write_meta
from dlc_deploy.runtime.outputs.pickles import full_data
from dlc_deploy.runtime.outputs.tables import to_dataframe, write_csv, write_h5
from dlc_deploy.runtime.outputs.track import Track, assemble, is_multi_animal
from tests.tracks import SCORER, manifest, poses, report, track

UNIQUE = ("corner1", "corner2", "corner3")


def with_identities(made: Track) -> Track:
    """The same track; animal i looks like individual i, 0.8 to 0.1."""
    frames, animals, keypoints = made.poses.score.shape
    identity = np.full((frames, animals, keypoints, animals), 0.1, np.float32)
    for animal in range(animals):
        identity[:, animal, :, animal] = 0.8
    identity[np.isnan(made.poses.score)] = np.nan
    return replace(made, poses=replace(made.poses, identity=identity))


def test_animals_of_each_frame_are_listed_without_absent_ones():
    made = track(4, 3)
    made.poses.xy[2, 1], made.poses.score[2, 1] = np.nan, np.nan
    made.poses.xy[2, 2, 0], made.poses.score[2, 2, 0] = np.nan, 0
    content = assemblies(made)
    assert list(content) == ["single", 0, 1, 2, 3] and content["single"] == {}
    assert [content[n].shape for n in range(4)] == [(3, 2, 4), (3, 2, 4), (2, 2, 4), (3, 2, 4)]
    assert {content[n].dtype for n in range(4)} == {np.dtype("float64")}
    np.testing.assert_array_equal(content[1][..., :2], made.poses.xy[1])
    np.testing.assert_array_equal(content[1][..., 2], made.poses.score[1])
    assert (content[1][..., 3] == -1).all()
    np.testing.assert_array_equal(content[2][1, 0], [np.nan, np.nan, 0, -1])


def test_frames_before_the_first_and_undecodable_ones_have_no_animals():
    content = assemblies(track(4, 2, start=3, missing=(5,), unique=UNIQUE))
    assert list(content) == ["single", *range(7)]
    assert [len(content[n]) for n in range(7)] == [0, 0, 0, 2, 2, 0, 2]
    assert content[0].shape == (0, 2, 4)
    assert list(content["single"]) == [3, 4, 6]


def test_unique_bodyparts_are_single():
    made = track(3, 2, unique=UNIQUE)
    single = assemblies(made)["single"]
    assert {array.shape for array in single.values()} == {(3, 3)}
    np.testing.assert_array_equal(single[2][:, :2], made.poses.unique.xy[2, 0])


def test_the_likeliest_individual_is_told():
    content = assemblies(with_identities(track(3, 3)))
    assert content[1][..., 3].tolist() == [[0, 0], [1, 1], [2, 2]]


def test_identities_stand_beside_the_joints_and_unique_bodyparts_are_nobodys():
    made = track(3, 2, unique=UNIQUE, missing=(1,))
    made.poses.xy[2, 1], made.poses.score[2, 1] = np.nan, np.nan
    content = full_data(with_identities(made))
    looks = content["frame0"]["identity"]
    assert len(looks) == 2 + len(UNIQUE) and {array.dtype for array in looks} == {np.dtype("f8")}
    np.testing.assert_allclose(looks[1], [[0.8, 0.1], [0.1, 0.8]])
    assert all((array == -1).all() and array.shape == (2, 2) for array in looks[2:])
    assert (content["frame2"]["identity"][0][1] == -1).all()
    assert np.isnan(content["frame1"]["identity"][0]).all()
    assert "identity" not in full_data(made)["frame0"]


def test_identities_go_where_frames_are_missing():
    found = with_identities(track(2, 2)).poses
    made = assemble(manifest(2), 0, [((0,), found[:1]), ((2,), found[1:])], {1})
    np.testing.assert_array_equal(made.poses.identity[[0, 2]], found.identity)
    assert np.isnan(made.poses.identity[1]).all()


def test_one_animal_with_unique_bodyparts_is_a_project_for_several(tmp_path):
    made = track(3, 1, unique=UNIQUE)
    assert is_multi_animal(made.manifest) and not is_multi_animal(manifest(1))
    write_h5(to_dataframe(made), tmp_path / "t.h5")
    table = pd.read_hdf(tmp_path / "t.h5")
    assert table.columns.names == ["scorer", "individuals", "bodyparts", "coords"]
    assert list(table.columns.droplevel("coords").unique()) == [
        (SCORER, "mouse1", "snout"),
        (SCORER, "mouse1", "tail"),
        *((SCORER, "single", name) for name in UNIQUE),
    ]
    np.testing.assert_array_equal(
        table[SCORER]["single"]["corner3"][["x", "y"]], made.poses.unique.xy[:, 0, 2]
    )
    write_csv(table, tmp_path / "t.csv")
    assert len((tmp_path / "t.csv").read_text().splitlines()) == 4 + 3


def test_more_animals_than_names_are_in_the_pickles_only():
    made = Track(manifest(2), 0, poses(3, individuals=4))
    assert to_dataframe(made).shape == (3, 2 * 2 * 3)
    assert assemblies(made)[0].shape == (4, 2, 4)


def plain(content):
    """Whether a pickle needs nothing to be imported."""
    return not any(op.name in ("GLOBAL", "STACK_GLOBAL") for op, *_ in pickletools.genops(content))


def test_the_meta_pickle_is_plain_and_tells_what_deeplabcut_looks_up(tmp_path):
    made = track(5, 2, unique=UNIQUE, start=2)
    write_meta(made, report(), tmp_path / "t.pickle")
    content = (tmp_path / "t.pickle").read_bytes()
    assert plain(content)
    data = pickle.loads(content)["data"]
    assert data["Scorer"] == SCORER and data["nframes"] == 7
    assert (data["cropping"], data["cropping_parameters"]) == (False, [0, 64, 0, 48])
    assert data["frame_dimensions"] == (64, 48) and data["fps"] == 25.0
    assert data["individuals"] == ["mouse1", "mouse2"]
    assert data["unique_bodyparts"] == list(UNIQUE) and data["bodyparts"] == ["snout", "tail"]
    assert data["stop"] - data["start"] == pytest.approx(data["run_duration"]) == 1.0
    assert meta(made, report())["data"]["pytorch-config"]["method"] == "bu"


def test_assemblies_need_numpy_only(tmp_path):
    write_assemblies(track(2, 2, unique=UNIQUE), tmp_path / "t.pickle")
    names = [
        arg
        for op, arg, _ in pickletools.genops((tmp_path / "t.pickle").read_bytes())
        if op.name == "SHORT_BINUNICODE" and "." in arg
    ]
    assert names and all(name.startswith("numpy") for name in names)


@pytest.mark.parametrize("several", [False, True])
def test_assemblies_are_written_where_animals_can_be_tracked(tmp_path, several):
    options = dict(csv=False, labeled_video=False, multi_animal=several)
    files = ResultFiles.of(tmp_path, "video", SCORER, **options)
    written = write_results(files, track(3, 1 + several), report())
    names = {path.name for path in tmp_path.iterdir()}
    assert (f"video{SCORER}_assemblies.pickle" in names) == several
    assert set(written.outputs) == names - {files.report.name}
