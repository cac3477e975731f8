"""Labels of DeepLabCut projects as they lie on disk, whole or damaged."""

from __future__ import annotations

import pickle
import shutil
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest
import yaml

pytest.importorskip("torch")

from dlc_deploy.errors import ConfigError, InputError
from dlc_deploy.training.data.dlcloader import DLCLoader
from tests import training_projects as drawn

pytestmark = pytest.mark.torch
SIZE = (96, 128)
TRAIN, TEST = [2, 4, 0, 1], [3, 5]  # rows, as write_split draws them


@pytest.fixture(scope="module")
def templates(tmp_path_factory):
    folder = tmp_path_factory.mktemp("projects")
    drawn.make_dlc_project(folder / "one")
    drawn.make_dlc_project(folder / "two", individuals=2, unique=("left", "right"))
    return folder


@pytest.fixture
def one(templates, tmp_path):
    return shutil.copytree(templates / "one", tmp_path / "one") / "config.yaml"


@pytest.fixture
def two(templates, tmp_path):
    return shutil.copytree(templates / "two", tmp_path / "two") / "config.yaml"


def h5_of(config: Path) -> Path:
    return drawn.training_set_folder(config.parent) / f"CollectedData_{drawn.SCORER}.h5"


def relabel(config: Path, change) -> None:
    """Write the training set's labels again after ``change(values [images, columns])``."""
    table = pd.read_hdf(h5_of(config))
    values = table.to_numpy().copy()
    change(values)
    write(config, values, [tuple(row) for row in table.index], table.columns)


def write(config: Path, values, rows, columns) -> None:
    index = drawn.row_labels(rows) if isinstance(rows[0], tuple) else pd.Index(rows, dtype=object)
    names = drawn.row_labels([tuple(column) for column in columns], list(columns.names))
    table = pd.DataFrame(values, index=index, columns=names)
    table.to_hdf(h5_of(config), key="df_with_missing", mode="w")
    table.to_csv(h5_of(config).with_suffix(".csv"))


def same_labels(one: DLCLoader, other: DLCLoader) -> bool:
    images = list(zip(one.labels("train"), other.labels("train"), strict=True))
    assert images
    return all(
        a.path.name == b.path.name
        and np.array_equal(a.keypoints, b.keypoints)
        and np.array_equal(a.unique, b.unique)
        for a, b in images
    )


def test_labels_are_those_of_the_split_in_its_order(one):
    loader = DLCLoader(one)
    truth = drawn.keypoints(6, 1, 3, SIZE)
    assert loader.split == {"train": TRAIN, "test": TEST}
    for mode, rows in loader.split.items():
        images = loader.labels(mode)
        assert [image.path.name for image in images] == [f"img{row:03}.png" for row in rows]
        assert [image.id for image in images] == list(range(1, len(rows) + 1))
        for image, row in zip(images, rows, strict=True):
            assert np.array_equal(image.keypoints[..., :2], truth[row])
            assert (image.keypoints[..., 2] == 2).all()
            assert (image.height, image.width) == SIZE
            assert image.path.is_file()
            assert image.individuals.tolist() == [0]
            assert image.categories.tolist() == [1]
            assert image.crowd.tolist() == [False]
            assert image.unique.shape == (0, 3)


def test_tables_are_those_of_the_split(one):
    loader = DLCLoader(one)
    assert loader.df.columns.names == ["scorer", "bodyparts", "coords"]
    assert loader.df.index[0] == ("labeled-data", drawn.VIDEO, "img000.png")
    assert loader.df_train.equals(loader.df.iloc[TRAIN])
    assert loader.df_test.equals(loader.df.iloc[TEST])


def test_folders_are_deeplabcuts(one):
    loader = DLCLoader(one)
    name = "iteration-0/dotsNov24-trainset67shuffle1"
    assert loader.model_folder == one.parent / "dlc-models-pytorch" / name / "train"
    assert loader.evaluation_folder == one.parent / "evaluation-results-pytorch" / name
    assert loader.project_cfg["Task"] == drawn.TASK


def test_a_model_prefix_leads_into_its_folder(one):
    (one.parent / "trials").mkdir()
    (one.parent / "dlc-models-pytorch").rename(one.parent / "trials" / "dlc-models-pytorch")
    loader = DLCLoader(one, modelprefix="trials")
    assert loader.model_folder.is_relative_to(one.parent / "trials" / "dlc-models-pytorch")
    with pytest.raises(InputError, match="shuffle 1"):
        DLCLoader(one)


def test_boxes_are_around_the_keypoints_and_inside_the_image(one):
    image = DLCLoader(one).labels("test")[0]
    xy = image.keypoints[0, :, :2]
    low = np.maximum(xy.min(axis=0) - 20, 0)
    high = np.minimum(xy.max(axis=0) + 20, (128, 96))
    assert np.array_equal(image.boxes, [[*low, *(high - low)]])


def test_the_margin_of_boxes_is_that_of_the_pose_model(one):
    loader = DLCLoader(one)
    before = loader.labels("test")[0].boxes
    loader.update_model_cfg({"data.bbox_margin": 10})
    after = loader.labels("test")[0].boxes
    assert after[0, 2] == pytest.approx(before[0, 2] - 20)
    assert np.array_equal(DLCLoader(one).labels("test")[0].boxes, after)


def test_an_animal_of_one_keypoint_has_a_box_around_it(one):
    def one_keypoint(values):
        values[3] = [60, 50, *[np.nan] * 4]

    relabel(one, one_keypoint)
    image = DLCLoader(one).labels("test")[0]
    assert image.boxes.tolist() == [[40, 30, 40, 40]]
    assert image.keypoints.tolist() == [[[60, 50, 2], [0, 0, 0], [0, 0, 0]]]


def test_animals_keep_their_names_when_others_are_missing(two):
    relabel(two, lambda values: values[3, :6].fill(np.nan))
    loader = DLCLoader(two)
    image = loader.labels("test")[0]
    truth = drawn.keypoints(6, 2, 3, SIZE)[3]
    assert image.individuals.tolist() == [1]
    assert np.array_equal(image.keypoints[0, :, :2], truth[1])
    poses = loader.ground_truth_keypoints("test")[str(image.path)]
    assert not poses[0].any()
    assert np.array_equal(poses[1, :, :2], truth[1])


def test_unique_bodyparts_are_apart(two):
    relabel(two, lambda values: values[5, 12:14].fill(np.nan))
    loader = DLCLoader(two)
    corners = drawn.unique_points(2, SIZE)
    assert np.array_equal(loader.labels("test")[0].unique[:, :2], corners)
    other = loader.labels("test")[1]
    assert other.unique.tolist() == [[0, 0, 0], [*corners[1], 2]]
    truth = loader.ground_truth_keypoints("test", unique_bodypart=True)
    assert np.array_equal(truth[str(other.path)], other.unique[None])


def test_no_unique_bodyparts_to_ask_for(one):
    with pytest.raises(InputError, match="has none"):
        DLCLoader(one).ground_truth_keypoints(unique_bodypart=True)


def test_images_without_labels_stay_in_the_set(two):
    relabel(two, lambda values: values[3].fill(np.nan))
    loader = DLCLoader(two)
    image = loader.labels("test")[0]
    assert image.keypoints.shape == (0, 3, 3)
    assert image.boxes.shape == (0, 4)
    assert len(loader.image_filenames("test")) == 2
    assert not loader.ground_truth_keypoints("test")[str(image.path)].any()
    assert loader.ground_truth_bboxes("test")[str(image.path)]["bboxes"].shape == (0, 4)


def test_labels_outside_of_the_image_do_not_count_and_are_told(one, caplog):
    def leave(values):
        values[3] = [128, 50, 60, 96, 64.5, 95.5]  # both on the edge, the last inside
        values[5] = [-3, 5, 0, 7, 9, 2000]

    relabel(one, leave)
    loader = DLCLoader(one)
    assert loader.labels("test")[0].keypoints.tolist() == [[[0, 0, 0], [0, 0, 0], [64.5, 95.5, 2]]]
    assert len(loader.labels("test")[1].keypoints) == 0
    assert "5 labels" in caplog.text
    assert "img003.png, img005.png" in caplog.text


def test_half_a_label_is_none(one):
    relabel(one, lambda values: values[3, :1].fill(np.nan))
    assert DLCLoader(one).labels("test")[0].keypoints[0, 0].tolist() == [0, 0, 0]


def test_boxes_of_ground_truth_come_with_the_size(two):
    loader = DLCLoader(two)
    for image in loader.labels("test"):
        truth = loader.ground_truth_bboxes("test")[str(image.path)]
        assert (truth["width"], truth["height"]) == (128, 96)
        assert np.allclose(truth["bboxes"], image.boxes, rtol=0, atol=1e-12)


def test_images_of_different_sizes(one):
    path = drawn.image_folder(one.parent) / "img003.png"
    cv2.imwrite(str(path), cv2.copyMakeBorder(cv2.imread(str(path)), 0, 30, 0, 10, 0))
    sizes = [(image.height, image.width) for image in DLCLoader(one).labels("test")]
    assert sizes == [(126, 138), (96, 128)]


@pytest.mark.parametrize("project", ["one", "two"])
def test_labels_as_csv_only(project, request):
    config = request.getfixturevalue(project)
    before = DLCLoader(config)
    before.labels("train")
    h5_of(config).unlink()
    after = DLCLoader(config)
    assert same_labels(before, after)
    assert before.df.equals(after.df)


@pytest.mark.parametrize("project", ["one", "two"])
def test_labels_of_the_videos_where_none_are_merged(project, request):
    config = request.getfixturevalue(project)
    before = DLCLoader(config)
    before.labels("train")
    h5_of(config).unlink()
    h5_of(config).with_suffix(".csv").unlink()
    assert same_labels(before, DLCLoader(config))


@pytest.mark.parametrize(
    "old",
    [
        "labeled-data/clip/img{:03}.png",
        "labeled-data\\clip\\img{:03}.png",
        "/home/ann/dots/labeled-data/clip/img{:03}.png",
        "C:\\Users\\ann\\dots\\labeled-data\\clip\\img{:03}.png",
    ],
)
@pytest.mark.parametrize("suffix", [".h5", ".csv"])
def test_old_rows_name_their_image_in_one_text(one, old, suffix):
    before = DLCLoader(one)
    write(one, before.df.to_numpy(), [old.format(row) for row in range(6)], before.df.columns)
    other = {".h5": ".csv", ".csv": ".h5"}[suffix]
    h5_of(one).with_suffix(other).unlink()
    after = DLCLoader(one)
    assert same_labels(before, after)
    assert after.df.index[0] == ("labeled-data", "clip", "img000.png")


def test_columns_are_found_by_name(two):
    before = DLCLoader(two)
    before.labels("train")
    order = np.random.default_rng(0).permutation(len(before.df.columns))
    table = before.df.iloc[:, order]
    write(two, table.to_numpy(), [tuple(row) for row in table.index], table.columns)
    assert same_labels(before, DLCLoader(two))


def test_columns_of_likelihoods_are_not_labels(one):
    before = DLCLoader(one)
    columns = before.df.columns.to_list()
    columns += [(drawn.SCORER, part, "likelihood") for part in drawn.BODYPARTS]
    values = np.hstack([before.df.to_numpy(), np.ones((6, 3))])
    names = pd.MultiIndex.from_tuples(columns, names=before.df.columns.names)
    write(one, values, [tuple(row) for row in before.df.index], names)
    assert same_labels(before, DLCLoader(one))


def test_a_table_may_name_the_only_animal(one):
    before = DLCLoader(one)
    columns = [(a, "mouse", b, c) for a, b, c in before.df.columns]
    levels = ["scorer", "individuals", "bodyparts", "coords"]
    names = pd.MultiIndex.from_tuples(columns, names=levels)
    write(one, before.df.to_numpy(), [tuple(row) for row in before.df.index], names)
    assert same_labels(before, DLCLoader(one))


def test_old_projects_leave_multianimalproject_empty(one):
    content = yaml.safe_load(one.read_text())
    content |= {"multianimalproject": None, "identity": None}
    del content["engine"]
    one.write_text(yaml.safe_dump(content))
    assert len(DLCLoader(one).labels("train")) == 4


def test_a_project_that_moved(one, tmp_path):
    moved = one.parent.rename(tmp_path / "elsewhere")
    loader = DLCLoader(moved / "config.yaml")
    assert loader.project_cfg["project_path"] == str(moved)
    assert all(image.path.is_relative_to(moved) for image in loader.labels("train"))


def test_a_project_as_keys_and_values(one):
    content = yaml.safe_load(one.read_text())
    assert same_labels(DLCLoader(content), DLCLoader(one))
    with pytest.raises(ConfigError, match="project_path"):
        DLCLoader({key: value for key, value in content.items() if key != "project_path"})


def test_an_empty_test_set(tmp_path):
    loader = DLCLoader(drawn.make_dlc_project(tmp_path / "all", test=0))
    assert list(loader.labels("test")) == []
    assert loader.df_test.shape == (0, 6)
    assert loader.image_filenames("test") == []
    assert loader.ground_truth_keypoints("test") == {}
    assert len(loader.labels("train")) == 6


def documentation(config: Path) -> Path:
    return next(drawn.training_set_folder(config.parent).glob("Documentation*"))


def test_padding_of_a_split_is_no_image(one):
    images, train, test, fraction = pickle.loads(documentation(one).read_bytes())
    padded = [images, np.append(train, [-1, -1]), np.append(test, -1), fraction]
    documentation(one).write_bytes(pickle.dumps(padded))
    assert DLCLoader(one).split == {"train": TRAIN, "test": TEST}


def test_a_split_may_be_lists(one):
    documentation(one).write_bytes(pickle.dumps([[], TRAIN, TEST, 0.67]))
    assert DLCLoader(one).split == {"train": TRAIN, "test": TEST}


class _Runs:
    def __reduce__(self):
        return print, ("this ran",)


def test_a_split_runs_no_code(one, capsys):
    documentation(one).write_bytes(pickle.dumps([[_Runs()], TRAIN, TEST, 0.67]))
    with pytest.raises(InputError, match="Documentation"):
        _ = DLCLoader(one).split
    assert "this ran" not in capsys.readouterr().out


def test_a_split_of_more_images_than_labels(one):
    documentation(one).write_bytes(pickle.dumps([[], [0, 7], [1], 0.67]))
    with pytest.raises(InputError, match=r"at least 8 images.*got 6.*create_training_dataset"):
        DLCLoader(one).labels("train")


def test_no_such_shuffle(one):
    with pytest.raises(InputError, match=r"shuffle 3.*has shuffles 1.*Shuffles=\[3\]"):
        DLCLoader(one, shuffle=3)


def test_no_such_fraction(one):
    with pytest.raises(InputError, match="TrainingFraction"):
        DLCLoader(one, trainset_index=1)


def test_a_model_without_its_split(one):
    documentation(one).unlink()
    with pytest.raises(InputError, match=r"Documentation.*no shuffles.*Shuffles=\[1\]"):
        DLCLoader(one).labels("train")


def test_no_such_mode(one):
    with pytest.raises(InputError, match="train or test, got 'valid'"):
        DLCLoader(one).labels("valid")


def test_missing_images_are_counted_and_named(one):
    for row in (3, 5):
        (drawn.image_folder(one.parent) / f"img{row:03}.png").unlink()
    assert len(DLCLoader(one).labels("train")) == 4
    with pytest.raises(InputError, match=r"2 are missing.*img003\.png.*img005\.png"):
        DLCLoader(one).labels("test")


def test_labels_that_are_no_numbers(one):
    h5_of(one).unlink()
    csv = h5_of(one).with_suffix(".csv")
    csv.write_text(csv.read_text().replace("64.0", "left", 1))
    with pytest.raises(InputError, match="numbers, got 'left'"):
        _ = DLCLoader(one).df


def test_infinite_labels(one):
    relabel(one, lambda values: values[3, 0:1].fill(np.inf))
    with pytest.raises(InputError, match=r"infinite ones in 1 images: labeled-data/clip/img003"):
        DLCLoader(one).labels("test")


def test_an_image_twice(one):
    table = DLCLoader(one).df
    rows = [tuple(row) for row in table.index]
    write(one, table.to_numpy(), [*rows[:3], rows[5], *rows[4:]], table.columns)
    with pytest.raises(InputError, match=r"1 rows again: labeled-data/clip/img005"):
        DLCLoader(one).labels("test")


def rename_animal(config: Path, old: str, new: str) -> None:
    table = DLCLoader(config).df
    columns = pd.MultiIndex.from_tuples(
        [tuple(new if name == old else name for name in column) for column in table.columns],
        names=table.columns.names,
    )
    write(config, table.to_numpy(), [tuple(row) for row in table.index], columns)


def test_labels_of_animals_that_the_model_does_not_know(two):
    rename_animal(two, "animal2", "rat")
    with pytest.raises(InputError, match=r"expected animals animal1, animal2, got labels of rat"):
        DLCLoader(two).labels("test")


def test_bodyparts_that_are_not_in_the_labels(two):
    rename_animal(two, "tail", "tip")
    with pytest.raises(InputError, match=r"columns for animal1 tail, animal2 tail"):
        DLCLoader(two).labels("test")


def test_labels_of_one_animal_for_a_model_of_two(one, two):
    other = DLCLoader(one).df
    write(two, other.to_numpy(), [tuple(row) for row in other.index], other.columns)
    with pytest.raises(InputError, match="a table of one animal"):
        DLCLoader(two).labels("test")


def test_labels_by_two_scorers(one):
    table = DLCLoader(one).df
    both = table.columns.to_list() + [("Bob", *column[1:]) for column in table.columns]
    columns = pd.MultiIndex.from_tuples(both, names=table.columns.names)
    values = np.hstack([table.to_numpy()] * 2)
    write(one, values, [tuple(row) for row in table.index], columns)
    with pytest.raises(InputError, match="one scorer, got Ann, Bob"):
        DLCLoader(one).labels("test")
