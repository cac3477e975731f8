"""Training sets of DeepLabCut projects; what DeepLabCut makes of the same project is compared in
tests/parity/test_deeplabcut_projects.py."""

from __future__ import annotations

import pickle
import shutil

import numpy as np
import pandas as pd
import pytest
import scipy.io
import yaml

from dlc_deploy.errors import ConfigError, InputError, UsageError
from dlc_deploy.training.projects import ProjectFolders, create_training_dataset
from dlc_deploy.training.projects.annotations import read_annotations
from dlc_deploy.training.projects.shuffles import existing_shuffles, read_documentation
from tests.training_projects import BODYPARTS, SCORER, VIDEO, make_dlc_project, write_labels

pytest.importorskip("torch")
pytestmark = pytest.mark.torch


@pytest.fixture
def project(tmp_path):
    return unsplit_project(tmp_path / "project")


@pytest.fixture
def several(tmp_path):
    """Two animals and a unique bodypart."""
    return unsplit_project(tmp_path / "several", individuals=2, unique=("corner",))


def unsplit_project(folder, **options):
    """Ten labelled images of which nothing was made yet; the path of ``config.yaml``."""
    config = make_dlc_project(folder, images=10, test=2, **options)
    shutil.rmtree(folder / "training-datasets")
    shutil.rmtree(folder / "dlc-models-pytorch")
    return config


def edit(config, **changes):
    content = yaml.safe_load(config.read_text()) | changes
    config.write_text(yaml.safe_dump(content))


def labels_of(config):
    return pd.read_hdf(config.parent / "labeled-data" / VIDEO / f"CollectedData_{SCORER}.h5")


def relabel(config, table):
    write_labels(table, config.parent / "labeled-data" / VIDEO)


def files_below(folder):
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


def test_a_shuffle_has_all_its_files(project):
    before = files_below(project.parent)
    (split,) = create_training_dataset(project, seed=0)
    data = "training-datasets/iteration-0/UnaugmentedDataSet_dotsNov24"
    model = "dlc-models-pytorch/iteration-0/dotsNov24-trainset80shuffle1"
    assert files_below(project.parent) - before == {
        f"{data}/CollectedData_Ann.h5",
        f"{data}/CollectedData_Ann.csv",
        f"{data}/Documentation_data-dots_80shuffle1.pickle",
        f"{data}/dots_Ann80shuffle1.mat",
        f"{data}/metadata.yaml",
        f"{model}/train/pytorch_config.yaml",
        f"{model}/test/pose_cfg.yaml",
    }
    fraction, shuffle, (train, test) = split
    assert (fraction, shuffle) == (0.8, 1)
    assert sorted([*train, *test]) == list(range(10)) and len(train) == 8


def test_a_project_of_several_animals_has_its_own_files(several):
    create_training_dataset(several)
    made = {path.rsplit("/", 1)[1] for path in files_below(several.parent) if "80shuffle1" in path}
    assert "dots_Ann80shuffle1.pickle" in made and "dots_Ann80shuffle1.mat" not in made
    (tracking,) = several.parent.rglob("inference_cfg.yaml")
    settings = yaml.safe_load(tracking.read_text())
    assert settings["topktoretain"] == 2 and settings["minimalnumberofconnections"] == 1
    (test,) = several.parent.rglob("pose_cfg.yaml")
    assert yaml.safe_load(test.read_text())["all_joints_names"] == [*BODYPARTS, "corner"]


def test_the_merged_labels_are_those_of_the_videos(project):
    table = labels_of(project)
    table.iloc[2, :2] = np.nan
    relabel(project, table)
    create_training_dataset(project)
    merged = pd.read_hdf(ProjectFolders.read(project).collected_data)
    np.testing.assert_array_equal(merged.to_numpy(), table.to_numpy())
    assert list(merged.columns) == list(table.columns)
    assert list(merged.index) == list(table.index)


def test_videos_are_merged_in_the_order_of_their_names(project):
    second = labels_of(project)
    second.index = second.index.set_levels(["a-clip"], level=1)
    shutil.copytree(project.parent / "labeled-data" / VIDEO, folder := _video(project, "a-clip"))
    write_labels(second + 1, folder)
    edit(project, video_sets={f"/videos/{VIDEO}.mp4": {}, "C:\\videos\\a-clip.avi": {}})
    create_training_dataset(project)
    merged = pd.read_hdf(ProjectFolders.read(project).collected_data)
    assert [row[1] for row in merged.index] == ["a-clip"] * 10 + [VIDEO] * 10
    np.testing.assert_allclose(merged.iloc[0], merged.iloc[10] + 1)


def test_only_videos_of_the_project_are_merged_unless_none_is_there(project):
    edit(project, video_sets={"elsewhere.mp4": {}})
    create_training_dataset(project)
    assert len(pd.read_hdf(ProjectFolders.read(project).collected_data)) == 10
    shutil.copytree(project.parent / "labeled-data" / VIDEO, _video(project, "elsewhere"))
    table = labels_of(project).iloc[:5]
    table.index = table.index.set_levels(["elsewhere"], level=1)
    write_labels(table, _video(project, "elsewhere"))
    create_training_dataset(project)
    assert len(pd.read_hdf(ProjectFolders.read(project).collected_data)) == 5


@pytest.mark.parametrize("several", [False, True], ids=["one animal", "several"])
@pytest.mark.parametrize("joined", [False, True], ids=["three cells", "one cell"])
def test_labels_are_read_from_text_where_there_is_no_h5(tmp_path, several, joined):
    options = {"individuals": 2, "unique": ("corner",)} if several else {}
    config = unsplit_project(tmp_path / "project", **options)
    table = labels_of(config)
    table.iloc[3, 1] = np.nan
    folder = _video(config, VIDEO)
    (folder / f"CollectedData_{SCORER}.h5").unlink()
    if joined:  # as DeepLabCut wrote it up to 2.2, on Windows
        table.index = pd.Index(["\\".join(row) for row in table.index], dtype=object)
    table.to_csv(folder / f"CollectedData_{SCORER}.csv")
    create_training_dataset(config)
    merged = pd.read_hdf(ProjectFolders.read(config).collected_data)
    np.testing.assert_array_equal(merged.to_numpy(), table.to_numpy())
    assert merged.index[0] == ("labeled-data", VIDEO, "img000.png")


def test_columns_are_those_of_the_project_in_its_order(project):
    table = labels_of(project)
    order = [*table.columns[2:4], *table.columns[:2]]  # hip, nose; no tail
    relabel(project, table[order])
    edit(project, bodyparts=["nose", "tail", "hip"])
    create_training_dataset(project)
    merged = pd.read_hdf(ProjectFolders.read(project).collected_data)[SCORER]
    assert list(merged.columns.unique("bodyparts")) == ["nose", "tail", "hip"]
    np.testing.assert_array_equal(merged["hip"].to_numpy(), table[SCORER]["hip"].to_numpy())
    assert merged["tail"].isna().all(axis=None)


def test_likelihoods_among_labels_are_left_out(project):
    table = labels_of(project)
    table[(SCORER, "nose", "likelihood")] = 1.0
    relabel(project, table)
    read = read_annotations(_video(project, VIDEO) / f"CollectedData_{SCORER}.h5")
    assert read.shape == (10, 6)
    create_training_dataset(project)
    merged = pd.read_hdf(ProjectFolders.read(project).collected_data)
    assert set(merged.columns.get_level_values("coords")) == {"x", "y"}


def test_labels_of_the_training_images_are_whole_numbers_inside_the_image(project):
    table = labels_of(project)
    table.iloc[:, 0:2] = [7.9, 8.2]
    table.iloc[:, 2:4] = [128.5, 5.0]  # right of an image that is 128 wide
    table.iloc[:, 4:6] = np.nan
    relabel(project, table)
    create_training_dataset(project)
    folders = ProjectFolders.read(project)
    data = scipy.io.loadmat(folders.training_data(0.8, 1))["dataset"]
    image, size, joints = data[0, 0]
    assert data.shape == (1, 8) and size.tolist() == [[3, 96, 128]]
    assert [part.strip() for part in image[0]][:2] == ["labeled-data", VIDEO]
    assert joints[0, 0].tolist() == [[0, 7, 8]]


def test_labels_of_several_animals_have_two_decimals(several):
    table = labels_of(several)
    table.iloc[:, 0:2] = [7.987, 8.123]
    table.iloc[:, 6:12] = np.nan  # the second animal
    relabel(several, table)
    create_training_dataset(several)
    path = ProjectFolders.read(several).training_data(0.8, 1)
    first = pickle.loads(path.read_bytes())[0]
    assert sorted(first["joints"]) == [0, 2]
    np.testing.assert_allclose(first["joints"][0][0], [0, 7.99, 8.12], rtol=1e-6)
    assert first["joints"][2][0, 0] == 3  # the unique bodypart comes after the animals' three


def test_the_splits_are_those_that_numpy_draws(project):
    edit(project, TrainingFraction=[0.8, 0.5])
    splits = create_training_dataset(project, num_shuffles=2, seed=3)
    np.random.seed(3)
    wanted = [np.random.permutation(range(10)) for _ in range(4)]
    assert [split[:2] for split in splits] == [(0.8, 1), (0.8, 2), (0.5, 1), (0.5, 2)]
    for (fraction, _, (train, test)), order in zip(splits, wanted, strict=True):
        assert [*train, *test] == list(order) and len(train) == 10 * fraction


def test_fractions_take_turns_in_a_project_of_several_animals(several):
    edit(several, TrainingFraction=[0.8, 0.5])
    splits = create_training_dataset(several, num_shuffles=2)
    assert [split[:2] for split in splits] == [(0.8, 1), (0.5, 1), (0.8, 2), (0.5, 2)]


def test_splits_are_drawn_anew_without_a_seed(project):
    first, second = create_training_dataset(project, num_shuffles=2)
    (third,) = create_training_dataset(project)
    orders = {tuple(split.indices[0]) for split in (first, second, third)}
    assert len(orders) == 3 and third.shuffle == 3


def test_the_list_of_shuffles_tells_equal_splits(project):
    split = {"trainIndices": [range(8)], "testIndices": [[8, 9]]}
    create_training_dataset(project, Shuffles=[1], **split)
    create_training_dataset(project, Shuffles=[4], seed=0)
    create_training_dataset(project, Shuffles=[9], **split)
    path = ProjectFolders.read(project).metadata
    assert path.read_text().startswith("# This file is automatically generated")
    shuffles = yaml.safe_load(path.read_text())["shuffles"]
    assert {name: entry["split"] for name, entry in shuffles.items()} == {
        "dotsNov24-trainset80shuffle1": 1,
        "dotsNov24-trainset80shuffle4": 2,
        "dotsNov24-trainset80shuffle9": 1,
    }
    assert {entry["engine"] for entry in shuffles.values()} == {"pytorch"}


def test_shuffles_of_deeplabcut_2_are_listed_as_tensorflow(project):
    create_training_dataset(project)
    folders = ProjectFolders.read(project)
    folders.metadata.unlink()
    shutil.rmtree(folders.root / "dlc-models-pytorch")
    create_training_dataset(project)
    shuffles = yaml.safe_load(folders.metadata.read_text())["shuffles"]
    assert [entry["engine"] for entry in shuffles.values()] == ["tensorflow", "pytorch"]


def test_a_shuffle_that_was_removed_is_not_listed_any_more(project):
    create_training_dataset(project)
    folders = ProjectFolders.read(project)
    folders.documentation(0.8, 1).unlink()
    create_training_dataset(project, Shuffles=[2])
    shuffles = yaml.safe_load(folders.metadata.read_text())["shuffles"]
    assert list(shuffles) == ["dotsNov24-trainset80shuffle2"]


def test_given_indices_are_kept_and_padding_is_not(project):
    edit(project, TrainingFraction=[0.9])
    (split,) = create_training_dataset(
        project, trainIndices=[[5, 1, 2, 3, 4, 6, 7, -1, -1]], testIndices=[[0]]
    )
    known = read_documentation(ProjectFolders.read(project).documentation(0.9, 1))
    assert known.train == (5, 1, 2, 3, 4, 6, 7) and known.test == (0,)
    assert split.train_fraction == known.fraction == 0.9


@pytest.mark.parametrize(
    ("train", "test", "message"),
    [
        ([range(5)], [range(5, 10)], "TrainingFraction"),
        ([range(8)], [[8, 10]], "indices of 10 images"),
        ([range(8)], [[7, 8]], "each once"),
        ([range(8)], [], "each of 1 shuffles"),
    ],
)
def test_indices_that_do_not_fit_are_refused(project, train, test, message):
    with pytest.raises(InputError, match=message):
        create_training_dataset(project, trainIndices=train, testIndices=test)


def test_train_indices_alone_are_refused(project):
    with pytest.raises(UsageError, match="Give both"):
        create_training_dataset(project, trainIndices=[range(8)])


def test_a_shuffle_is_not_replaced_unless_asked(project):
    (first,) = create_training_dataset(project, seed=0)
    before = {path: path.read_bytes() for path in project.parent.rglob("*") if path.is_file()}
    with pytest.raises(InputError, match=r"\[1\] are there"):
        create_training_dataset(project, Shuffles=[1], seed=1)
    assert before == {p: p.read_bytes() for p in project.parent.rglob("*") if p.is_file()}
    (second,) = create_training_dataset(project, Shuffles=[1], seed=1, userfeedback=False)
    assert list(first.indices[0]) != list(second.indices[0])
    assert existing_shuffles(ProjectFolders.read(project)) == [1]


def test_models_are_those_that_were_asked_for(project):
    create_training_dataset(
        project, net_type="top_down_resnet_50", detector_type="fasterrcnn_mobilenet_v3_large_fpn"
    )
    create_training_dataset(project, net_type="resnet_101")
    folders = ProjectFolders.read(project)
    first, second = (
        yaml.safe_load(folders.pose_config(0.8, shuffle).read_text()) for shuffle in (1, 2)
    )
    assert (first["method"], first["net_type"]) == ("td", "resnet_50")
    assert first["detector"]["model"]["type"] == "FasterRCNN"
    assert (second["method"], second["net_type"]) == ("bu", "resnet_101")


def test_conditions_reach_the_configuration(project):
    create_training_dataset(project)
    create_training_dataset(project, net_type="ctd_prenet_hrnet_w32", ctd_conditions=(1, -1))
    path = ProjectFolders.read(project).pose_config(0.8, 2)
    conditions = yaml.safe_load(path.read_text())["inference"]["conditions"]
    assert (conditions["shuffle"], conditions["snapshot_index"]) == (1, -1)


def test_a_moved_project_names_where_it_is(project, tmp_path):
    moved = shutil.move(project.parent, tmp_path / "moved")
    create_training_dataset(moved)
    path = ProjectFolders.read(moved).pose_config(0.8, 1)
    metadata = yaml.safe_load(path.read_text())["metadata"]
    assert metadata["project_path"] == str(moved) and metadata["pose_config_path"] == str(path)


def test_nothing_is_written_for_a_model_that_cannot_be(project):
    before = files_below(project.parent)
    with pytest.raises(ConfigError, match="net_type"):
        create_training_dataset(project, net_type="resnet_5000")
    assert files_below(project.parent) == before


def test_missing_images_are_named(project):
    (_video(project, VIDEO) / "img004.png").unlink()
    (_video(project, VIDEO) / "img006.png").write_bytes(b"no image")
    with pytest.raises(InputError, match=r"2 are missing or damaged.*img004.png.*img006.png"):
        create_training_dataset(project)


def test_an_image_that_is_labelled_twice_is_refused(project):
    table = labels_of(project)
    relabel(project, pd.concat([table, table.iloc[[3]]]))
    with pytest.raises(InputError, match=r"img003.png: expected each image once"):
        create_training_dataset(project)


def test_labels_of_an_unknown_animal_are_refused(several):
    edit(several, individuals=["animal1", "other"])
    with pytest.raises(InputError, match="got animal2 too"):
        create_training_dataset(several)


def test_labels_of_another_kind_of_project_are_refused(project):
    edit(
        project,
        multianimalproject=True,
        bodyparts="MULTI!",
        multianimalbodyparts=list(BODYPARTS),
        individuals=["a", "b"],
    )
    with pytest.raises(InputError, match="expected labels of several animals"):
        create_training_dataset(project)


def test_labels_of_another_scorer_are_refused(project):
    table = labels_of(project)
    table.columns = table.columns.set_levels(["Bob"], level="scorer")
    relabel(project, table)
    with pytest.raises(InputError, match="expected labels by Ann"):
        create_training_dataset(project)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("scorer,Ann\nbodyparts,nose\ncoords,x\nlabeled-data/clip/a.png,wide\n", "'wide'"),
        ("scorer,Ann\nbodyparts,nose\ncoords,x\nlabeled-data/clip/a.png\n", "2 cells"),
        ("scorer,Ann\nbodyparts,nose\ncoords,x\na.png,3\n", "expected images such as"),
        ("frame,Ann\n1,2\n", "lines that start with"),
    ],
)
def test_damaged_text_is_told(project, text, message):
    folder = _video(project, VIDEO)
    (folder / f"CollectedData_{SCORER}.h5").unlink()
    (folder / f"CollectedData_{SCORER}.csv").write_text(text)
    with pytest.raises(InputError, match=message):
        create_training_dataset(project)


def test_a_damaged_h5_is_told(project):
    path = _video(project, VIDEO) / f"CollectedData_{SCORER}.h5"
    path.write_bytes(path.read_bytes()[:3000])
    with pytest.raises(InputError, match="cannot be read"):
        create_training_dataset(project)


def test_a_project_without_labels_is_told(project):
    shutil.rmtree(_video(project, VIDEO))
    with pytest.raises(InputError, match="Label some images first"):
        create_training_dataset(project)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"TrainingFraction": [0.955]}, "TrainingFraction"),
        ({"TrainingFraction": []}, "TrainingFraction"),
        ({"iteration": "first"}, "iteration"),
        ({"Task": None}, "Task"),
    ],
)
def test_a_project_that_is_none_is_refused(project, changes, message):
    edit(project, **changes)
    with pytest.raises(ConfigError, match=message):
        create_training_dataset(project)


def test_too_few_images_for_a_fraction_are_told(project):
    edit(project, TrainingFraction=[0.05])
    with pytest.raises(InputError, match="enough labelled images"):
        create_training_dataset(project)


def test_all_images_may_be_trained_on(project):
    edit(project, TrainingFraction=[1.0])
    ((_, _, (train, test)),) = create_training_dataset(project)
    assert len(train) == 10 and len(test) == 0


def test_a_damaged_list_of_shuffles_is_told(project):
    create_training_dataset(project)
    ProjectFolders.read(project).metadata.write_text("shuffles: {a: {index: 1}}")
    before = files_below(project.parent)
    with pytest.raises(InputError, match="to have it made anew"):
        create_training_dataset(project)
    assert files_below(project.parent) == before


def test_pickles_that_name_code_are_not_run(project):
    create_training_dataset(project)
    path = ProjectFolders.read(project).documentation(0.8, 1)
    path.write_bytes(pickle.dumps([[], print, [], 0.8]))
    with pytest.raises(InputError, match="code of others"):
        read_documentation(path)


def _video(config, name):
    return config.parent / "labeled-data" / name
