from __future__ import annotations

import errno
import json
import pickle
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import tables as hdf5

from dlc_deploy.errors import InputError, OutputError
from dlc_deploy.manifest import Origin
from dlc_deploy.poses import Boxes, Poses
from dlc_deploy.runtime.outputs import files as files_module
from dlc_deploy.runtime.outputs.files import ResultFiles, partial, prepare_folder, write_results
from dlc_deploy.runtime.outputs.pickles import full_data, write_full_pickle
from dlc_deploy.runtime.outputs.report import RunReport
from dlc_deploy.runtime.outputs.scorer import origin_of, scorer_name
from dlc_deploy.runtime.outputs.tables import to_dataframe, write_csv, write_h5
from dlc_deploy.runtime.outputs.track import Track, assemble
from tests.reference import REFERENCE, needs_reference
from tests.tracks import SCORER, manifest, poses, report, track

UNIQUE = ("corner1", "corner2")
MADE_UP = ("single", "multi", "multi_unique_identity")


def read_back(of, tmp_path):
    write_h5(to_dataframe(of), tmp_path / "t.h5")
    return pd.read_hdf(tmp_path / "t.h5")


def test_a_single_animals_table_is_read_back_as_it_was(tmp_path):
    made = track(5)
    table = read_back(made, tmp_path)
    assert table.columns.names == ["scorer", "bodyparts", "coords"]
    assert list(table.columns[:4]) == [
        (SCORER, "snout", "x"),
        (SCORER, "snout", "y"),
        (SCORER, "snout", "likelihood"),
        (SCORER, "tail", "x"),
    ]
    assert table.index.tolist() == [0, 1, 2, 3, 4] and table.index.name is None
    assert table.index.dtype == np.int64 and set(table.dtypes) == {np.dtype("float32")}
    np.testing.assert_array_equal(table[SCORER]["tail"][["x", "y"]], made.poses.xy[:, 0, 1])
    np.testing.assert_array_equal(table[SCORER]["tail"]["likelihood"], made.poses.score[:, 0, 1])


def test_several_animals_have_a_level_of_individuals_and_unique_bodyparts_follow(tmp_path):
    made = track(4, 3, unique=UNIQUE)
    table = read_back(made, tmp_path)
    assert table.columns.names == ["scorer", "individuals", "bodyparts", "coords"]
    assert list(table.columns.get_level_values("individuals").unique()) == [
        "mouse1",
        "mouse2",
        "mouse3",
        "single",
    ]
    np.testing.assert_array_equal(
        table[SCORER]["mouse2"]["snout"][["x", "y"]], made.poses.xy[:, 1, 0]
    )
    np.testing.assert_array_equal(
        table[SCORER]["single"]["corner2"][["x", "y"]], made.poses.unique.xy[:, 0, 1]
    )


def test_missing_frames_are_nan_and_absent_animals_are_minus_one(tmp_path):
    made = track(5, 2, missing=(1, 4), unique=UNIQUE)
    made.poses.xy[2, 1], made.poses.score[2, 1] = np.nan, np.nan
    made.poses.xy[3, 0, 0], made.poses.score[3, 0, 0] = np.nan, 0
    table = read_back(made, tmp_path)
    assert len(table) == 5
    assert table.loc[[1, 4]].isna().all(axis=None)
    assert (table.loc[2, (SCORER, "mouse2")] == -1).all()
    joint = table.loc[3, (SCORER, "mouse1", "snout")].to_numpy()
    np.testing.assert_array_equal(joint, [np.nan, np.nan, 0])
    assert not (table.loc[[0, 3]] == -1).any(axis=None)
    assert table.loc[0].notna().all()


def test_a_range_keeps_the_numbers_of_the_frames(tmp_path):
    table = read_back(track(4, start=100, missing=(102,)), tmp_path)
    assert table.index.tolist() == [100, 101, 102, 103]
    assert table.loc[102].isna().all() and table.loc[103].notna().all()


def test_gaps_go_where_frames_are_missing():
    found = poses(4, 2, boxes=3, unique=2)
    parts = [((10, 12), found[:2]), ((13, 15), found[2:])]
    made = assemble(manifest(2, unique=UNIQUE), 10, parts, {11, 14})
    assert len(made) == 6 and made.missing == {11, 14}
    np.testing.assert_array_equal(made.poses.xy[[0, 2, 3, 5]], found.xy)
    np.testing.assert_array_equal(made.poses.boxes.score[[0, 2, 3, 5]], found.boxes.score)
    np.testing.assert_array_equal(made.poses.unique.xy[[0, 2, 3, 5]], found.unique.xy)
    assert np.isnan(made.bodyparts()[[1, 4]]).all()
    assert np.isnan(made.unique_bodyparts()[[1, 4]]).all()


def test_the_csv_holds_the_same_numbers_below_the_same_header(tmp_path):
    table = to_dataframe(track(3, 2, start=7, missing=(8,)))
    write_csv(table, tmp_path / "t.csv")
    lines = (tmp_path / "t.csv").read_text().splitlines()
    names = [line.split(",")[0] for line in lines]
    assert names == ["scorer", "individuals", "bodyparts", "coords", "7", "8", "9"]
    assert lines[5] == "8" + "," * 12
    read = pd.read_csv(tmp_path / "t.csv", header=[0, 1, 2, 3], index_col=0)
    np.testing.assert_array_equal(read.to_numpy(np.float32), table.to_numpy())


def test_pandas_2_can_read_the_table(tmp_path):
    write_h5(to_dataframe(track(3, 2)), tmp_path / "t.h5")
    with hdf5.open_file(str(tmp_path / "t.h5")) as file:
        group = file.root.df_with_missing
        attributes = group._v_attrs
        assert str(attributes["pandas_version"]) == "0.15.2"
        assert str(attributes["pandas_type"]) == "frame_table"
        # the labels are plain tuples of text: pandas 2 knows no other
        ((axis, labels),) = attributes["non_index_axes"]
        assert axis == 1 and labels[0] == (SCORER, "mouse1", "snout", "x")
        assert {type(part) for label in labels for part in label} == {str}
        assert group.table.nrows == 3
    columns = to_dataframe(track(3, 2)).columns
    assert {level.dtype for level in columns.levels} == {np.dtype(object)}


def test_the_pickle_has_an_entry_for_each_frame_and_joint():
    made = track(12, 2, missing=(3,), unique=UNIQUE, boxes=4)
    content = full_data(made)
    assert list(content) == ["metadata", *(f"frame{number:02}" for number in range(12))]
    assert content["metadata"]["all_joints_names"] == ["snout", "tail", *UNIQUE]
    assert content["metadata"]["all_joints"] == [[0], [1], [2], [3]]
    assert (content["metadata"]["nframes"], content["metadata"]["key_str_width"]) == (12, 2)
    frame = content["frame05"]
    (coordinates,) = frame["coordinates"]
    assert [joint.shape for joint in coordinates] == [(2, 2), (2, 2), (1, 2), (1, 2)]
    np.testing.assert_array_equal(coordinates[1], made.poses.xy[5, :, 1])
    np.testing.assert_array_equal(frame["confidence"][1][:, 0], made.poses.score[5, :, 1])
    np.testing.assert_array_equal(frame["bboxes"], made.poses.boxes.xywh[5])
    assert all(np.isnan(joint).all() for joint in content["frame03"]["coordinates"][0])


def test_the_pickle_of_a_range_counts_frames_from_the_beginning():
    content = full_data(track(3, start=8))
    assert list(content)[1:] == [f"frame{number:02}" for number in range(11)]
    assert content["metadata"]["nframes"] == 11
    assert np.isnan(content["frame07"]["confidence"][0]).all()
    assert np.isfinite(content["frame08"]["confidence"][0]).all()


def test_the_pickle_of_one_frame_has_the_width_deeplabcut_gives_it():
    assert list(full_data(track(1))) == ["metadata", "frame0"]
    assert full_data(track(1))["metadata"]["key_str_width"] == 0


def as_deeplabcut(table):
    """A track whose files should be those that DeepLabCut wrote from ``table``."""
    names = table.columns.names
    joints = table.columns.droplevel("coords").unique()
    bodyparts, unique, individuals = [], [], []
    for joint in joints:
        label = dict(zip(names, joint, strict=False))
        individual = label.get("individuals", "animal")
        (unique if individual == "single" else bodyparts).append(label["bodyparts"])
        if individual != "single":
            individuals.append(individual)
    individuals = tuple(dict.fromkeys(individuals))
    bodyparts = tuple(dict.fromkeys(bodyparts))
    values = table.to_numpy().astype(np.float32)
    count = len(individuals) * len(bodyparts) * 3
    animals = values[:, :count].reshape(len(table), len(individuals), len(bodyparts), 3)
    single = values[:, count:].reshape(len(table), 1, len(unique), 3)
    found = Poses(
        animals[..., :2],
        animals[..., 2],
        unique=Poses(single[..., :2], single[..., 2]) if unique else None,
    )
    scorer = table.columns.get_level_values("scorer")[0]
    return Track(manifest(individuals, bodyparts, tuple(unique), scorer), 0, found)


def assert_same(got, expected):
    assert type(got) is type(expected)
    if isinstance(got, dict):
        assert list(got) == list(expected)
        for key in got:
            assert_same(got[key], expected[key])
    elif isinstance(got, list | tuple):
        assert len(got) == len(expected)
        for one, other in zip(got, expected, strict=True):
            assert_same(one, other)
    elif isinstance(got, np.ndarray):
        assert got.shape == expected.shape
        np.testing.assert_array_equal(got, expected.astype(got.dtype))
    else:
        assert got == expected


@needs_reference
@pytest.mark.parametrize("project", MADE_UP)
def test_tables_are_laid_out_as_deeplabcuts(tmp_path, project):
    folder = REFERENCE / "preprocess" / "outputs" / project
    layout = json.loads((folder / "layout.json").read_text())
    (name,) = (n for n in layout if n.endswith("_50.h5"))
    expected = pd.read_hdf(folder / name)
    made = as_deeplabcut(expected)
    table = read_back(made, tmp_path)
    assert list(table.columns.names) == layout[name]["column_level_names"]
    columns = [tuple(column) for column in layout[name]["columns"]]
    assert list(table.columns)[: len(columns)] == columns
    pd.testing.assert_frame_equal(table, expected.astype(np.float32), check_column_type=False)
    with hdf5.open_file(str(tmp_path / "t.h5")) as file:
        nodes = [node._v_pathname for node in file.walk_nodes()]
    assert nodes == layout[name]["nodes"]
    write_csv(table, tmp_path / "t.csv")
    header = len(table.columns.names)
    lines = layout[name.replace(".h5", ".csv")]["first_lines"][:header]
    assert (tmp_path / "t.csv").read_text().splitlines()[:header] == lines
    content = pickle.loads((folder / name.replace(".h5", "_full.pickle")).read_bytes())
    for entry in content.values():
        entry.pop("identity", None)
    assert_same(full_data(made), content)


@needs_reference
@pytest.mark.parametrize("model", ["resnet_50", "rtmpose_s"])
def test_files_of_real_models_are_deeplabcuts_to_the_letter(tmp_path, model):
    (path,) = (REFERENCE / "openfield" / "predictions" / model).glob("*.h5")
    expected = pd.read_hdf(path)
    made = as_deeplabcut(expected)
    content = pickle.loads(Path(str(path)[:-3] + "_full.pickle").read_bytes())
    if "bboxes" in content["frame000"]:
        frames = [content[key] for key in content if key != "metadata"]
        boxes = Boxes(
            np.stack([frame["bboxes"] for frame in frames]),
            np.stack([frame["bbox_scores"] for frame in frames]),
        )
        made = Track(made.manifest, 0, Poses(made.poses.xy, made.poses.score, boxes))
    table = read_back(made, tmp_path)
    pd.testing.assert_frame_equal(table, expected, check_column_type=False)
    write_csv(table, tmp_path / "t.csv")
    assert (tmp_path / "t.csv").read_text() == path.with_suffix(".csv").read_text()
    write_full_pickle(made, tmp_path / "t.pickle")
    assert_same(pickle.loads((tmp_path / "t.pickle").read_bytes()), content)


@pytest.mark.parametrize(
    ("net", "folder", "snapshot", "detector", "scorer"),
    [
        ("resnet_50", "multi_unique_identityOct30-trainset95shuffle1", "snapshot-050.pt", None,
         "DLC_Resnet50_multi_unique_identityOct30shuffle1_snapshot_50"),
        ("resnet_50", "open fieldOct3-trainset95shuffle1", "snapshot-050.pt", None,
         "DLC_Resnet50_open fieldOct3shuffle1_snapshot_50"),
        ("resnet_50", "openfieldOct30-trainset95shuffle1", "snapshot-050.pt", None,
         "DLC_Resnet50_openfieldOct30shuffle1_snapshot_50"),
        ("resnet_50", "openfieldOct30-trainset95shuffle1", "snapshot-best-1250.pt", None,
         "DLC_Resnet50_openfieldOct30shuffle1_snapshot_best-1250"),
        ("rtmpose_s", "openfieldOct30-trainset95shuffle12", "snapshot-132.pt",
         "snapshot-detector-best-030.pt",
         "DLC_RtmposeS_openfieldOct30shuffle12_detector_best-30_snapshot_132"),
        ("top_down_hrnet_w32", "two-miceJan1-trainset5shuffle3", "snapshot-best-000.pt",
         "snapshot-detector-200.pt",
         "DLC_TopDownHrnetW32_two-miceJan1shuffle3_detector_200_snapshot_best-0"),
        ("dlcrnet_stride16_ms5", "MayOct30-trainset95shuffle1", "snapshot-010.pt", None,
         "DLC_DlcrnetStride16Ms5_MayOct30shuffle1_snapshot_10"),
    ],
)  # fmt: skip
def test_results_are_named_as_deeplabcut_names_them(
    tmp_path, net, folder, snapshot, detector, scorer
):
    train = tmp_path / "iteration-4" / folder / "train"
    path = train / snapshot
    origin = origin_of(path, train / detector if detector else None)
    assert scorer_name(net, origin) == scorer
    assert (origin.iteration, origin.snapshot) == (4, snapshot)
    assert 0 < origin.train_fraction < 1


@pytest.mark.parametrize(
    ("folder", "snapshot", "scorer"),
    [
        ("my mouse", "snapshot-010.pt", "DLC_Resnet50_my-mouse_snapshot_10"),
        ("a_b/c", "best.pt", "DLC_Resnet50_c_snapshot_best"),
        ("x", "final model (2).pt", "DLC_Resnet50_x_snapshot_final-model-2-"),
    ],
)
def test_a_snapshot_outside_a_project_is_named_after_its_folder(tmp_path, folder, snapshot, scorer):
    assert scorer_name("resnet_50", origin_of(tmp_path / folder / snapshot, None)) == scorer


def test_an_origin_without_a_task_still_names_results():
    scorer = scorer_name("resnet_50", Origin(snapshot="snapshot-001.pt"))
    assert scorer == "DLC_Resnet50_model_snapshot_1"


def results(folder, **options):
    options = dict(csv=True, labeled_video=False) | options
    return ResultFiles.of(folder, "video.one", SCORER, **options)


def test_results_are_complete_under_their_final_names_and_nothing_else_is_there(tmp_path):
    files = results(tmp_path, labeled_video=True)
    partial(files.labeled_video).write_bytes(b"a video")
    written = write_results(files, track(5), report())
    base = f"video.one{SCORER}"
    pickles = ("_full.pickle", "_labeled.mp4", "_meta.pickle")
    names = [f"{base}{end}" for end in (".csv", ".h5", ".run.json", *pickles)]
    assert sorted(path.name for path in tmp_path.iterdir()) == names
    assert set(written.outputs) == {*names} - {f"{base}.run.json"}
    assert RunReport.model_validate_json(files.report.read_text()) == written
    assert files.labeled_video.read_bytes() == b"a video"
    assert pd.read_hdf(files.h5).shape == (5, 6)


def test_what_is_not_asked_for_is_not_written(tmp_path):
    write_results(results(tmp_path, csv=False), track(5), report())
    assert len(list(tmp_path.iterdir())) == 4


@pytest.mark.parametrize(
    "name", ["write_h5", "write_csv", "write_full_pickle", "write_meta", "_flush", "sha256"]
)
def test_a_full_disk_leaves_nothing_behind_and_earlier_results_as_they_are(
    tmp_path, monkeypatch, name
):
    files = results(tmp_path)
    write_results(files, track(3), report())
    before = {path: path.read_bytes() for path in tmp_path.iterdir()}

    def full(*arguments):
        path = next(a for a in reversed(arguments) if isinstance(a, Path))
        with path.open("ab") as file:
            file.write(b"half")
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(files_module, name, full)
    with pytest.raises(OutputError, match=r"No space left on device.*make room") as caught:
        write_results(files, track(5), report())
    assert str(tmp_path) in str(caught.value)
    assert {path: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_a_full_disk_under_the_report_leaves_nothing_behind(tmp_path, monkeypatch):
    def full(self, *_, **__):
        self.write_bytes(b"{")
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "write_text", full)
    with pytest.raises(OutputError, match="No space left on device"):
        write_results(results(tmp_path), track(5), report())
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("limit", [0, 3000, 40_000, 90_000])
def test_a_file_that_may_not_grow_is_told_whoever_writes_it(tmp_path, limit):
    resource = pytest.importorskip("resource")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    made = track(4000, 2)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, before[1]))
    try:
        with pytest.raises(OutputError, match="could not be written"):
            write_results(results(tmp_path), made, report())
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_cannot_be_written_is_refused_before_the_work(tmp_path):
    file = tmp_path / "file"
    file.touch()
    for folder in (file, file / "below"):
        with pytest.raises(InputError, match=r"expected a folder to write results in.*-o"):
            prepare_folder(folder)


def test_a_folder_is_made_with_its_parents_and_left_empty(tmp_path):
    prepare_folder(tmp_path / "a" / "b")
    assert list((tmp_path / "a" / "b").iterdir()) == []


def test_existing_results_are_refused_by_name(tmp_path):
    files = results(tmp_path)
    files.refuse_existing()
    for path in files.paths():
        path.touch()
        with pytest.raises(InputError, match="Pass --overwrite, or another -o") as caught:
            files.refuse_existing()
        assert str(path) in str(caught.value)
        path.unlink()
    files.report.with_name("other.h5").touch()
    files.refuse_existing()


def test_a_folder_in_the_place_of_a_result_is_refused_even_to_overwrite(tmp_path):
    files = results(tmp_path)
    files.full_pickle.mkdir()
    with pytest.raises(InputError, match="expected room for a file, got a folder") as caught:
        files.refuse_existing(overwrite=True)
    assert str(files.full_pickle) in str(caught.value)


def test_results_that_are_half_replaced_have_no_report_that_vouches_for_them(tmp_path):
    files, made = results(tmp_path), track()
    write_results(files, made, report())
    files.full_pickle.unlink()
    files.full_pickle.mkdir()
    with pytest.raises(OutputError):
        write_results(files, made, report())
    assert files.h5.is_file() and not files.report.exists()


def test_a_disk_that_is_full_before_the_work_keeps_no_trace_of_the_attempt(tmp_path, monkeypatch):
    def full(self, content):
        self.touch()
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(InputError, match="No space left on device"):
        prepare_folder(tmp_path)
    assert list(tmp_path.iterdir()) == []
