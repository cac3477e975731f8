from __future__ import annotations

import io
import json
import pickle
import threading

import numpy as np
import pandas as pd
import pytest
import tables

from dlc_deploy.errors import InputError
from dlc_deploy.runtime.conditions import read_conditions
from dlc_deploy.runtime.outputs.tables import KEY, write_h5
from dlc_deploy.runtime.unpickling import load_numbers, no_pickled_code

BODYPARTS = ("snout", "tail")
NAN = np.nan


class Called:
    """A pickle of this calls ``call`` with a word when it is read."""

    words: list[str] = []  # noqa: RUF012

    def __reduce__(self):
        return call, ("called",)


def call(word):
    Called.words.append(word)
    return [[0]]


@pytest.fixture(autouse=True)
def nothing_was_called():
    Called.words.clear()
    yield
    assert Called.words == []


def table(frames, individuals=("a", "b"), bodyparts=BODYPARTS, index=None):
    """A table of predictions as DeepLabCut lays it out."""
    levels = [["scorer"], individuals, bodyparts, ["x", "y", "likelihood"]]
    names = ["scorer", "individuals", "bodyparts", "coords"]
    if individuals is None:
        del levels[1], names[1]
    columns = pd.MultiIndex.from_product([pd.Index(v, dtype=object) for v in levels], names=names)
    values = np.array(frames, np.float64).reshape(len(frames), -1)
    return pd.DataFrame(values, columns=columns, index=index)


ANIMALS = [[[10, 20, 0.9], [30, 40, 0.8]], [[50, 60, 0.7], [70, 80, 0.6]]]
LATER = [[[11, 20, 0.9], [NAN, NAN, NAN]], [[-1, -1, -1], [-1, -1, -1]]]


def h5(tmp_path, content):
    write_h5(content, tmp_path / "poses.h5")
    return tmp_path / "poses.h5"


def values(file, frames):
    poses = file.at(frames)
    assert poses.xy.dtype == poses.score.dtype == np.float32
    return np.concatenate([poses.xy, poses.score[..., None]], -1)


def test_a_table_gives_the_poses_of_its_frame_numbers(tmp_path):
    path = h5(tmp_path, table([ANIMALS, LATER], index=[4, 5]))
    found = read_conditions(path, BODYPARTS)
    np.testing.assert_allclose(values(found, [4]), [ANIMALS])
    absent = [[[11, 20, 0.9], [NAN, NAN, 0]], [[NAN] * 3] * 2]
    np.testing.assert_allclose(values(found, [5, 4]), [absent, ANIMALS])
    assert np.isnan(values(found, [3])).all() and found.unknown([3, 4, 5, 6]) == [3, 6]


def test_a_table_of_one_animal_has_no_level_of_individuals(tmp_path):
    path = h5(tmp_path, table([ANIMALS[0]], individuals=None))
    np.testing.assert_allclose(values(read_conditions(path, BODYPARTS), [0]), [ANIMALS[:1]])


def test_bodyparts_are_taken_by_name_and_unique_ones_left_out(tmp_path):
    names = table([ANIMALS], bodyparts=BODYPARTS)
    unique = table([[[1, 2, 3]]], individuals=["single"], bodyparts=["corner"])
    path = h5(tmp_path, names.join(unique))
    found = read_conditions(path, ("tail", "snout"))
    np.testing.assert_allclose(values(found, [0])[0, 0], ANIMALS[0][::-1])
    assert values(found, [0]).shape == (1, 2, 2, 3)


def test_rows_of_named_images_are_frames_in_order(tmp_path):
    path = h5(tmp_path, table([ANIMALS, LATER], index=["frame0.png", "frame1.png"]))
    assert read_conditions(path, BODYPARTS).rows == {0: 0, 1: 1}


def test_a_table_of_other_bodyparts_is_refused(tmp_path):
    path = h5(tmp_path, table([ANIMALS], bodyparts=("snout", "ear")))
    with pytest.raises(InputError, match=r"bodyparts \['snout', 'tail'\], got \['snout', 'ear'\]"):
        read_conditions(path, BODYPARTS)


def test_a_json_list_has_an_entry_for_each_frame(tmp_path):
    path = tmp_path / "poses.JSON"
    path.write_text(json.dumps([ANIMALS, [], ANIMALS[1:]]))
    found = read_conditions(path, BODYPARTS)
    expected = [ANIMALS, np.full((2, 2, 3), NAN), [ANIMALS[1], [[NAN] * 3] * 2]]
    np.testing.assert_allclose(values(found, range(3)), expected)


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        ({"img0.png": ANIMALS}, "got dict"),
        ([ANIMALS, [[[1, 2, 3]]]], r"frame 1, got \[1, 1, 3\]"),
        ([[[[1, 2, 3], [4, 5]]]], "frame 0"),
        ([[[[1, 2, "high"], [4, 5, 6]]]], "frame 0"),
        ([None], "frame 0"),
        ([], "got none"),
    ],
)
def test_json_of_another_form_is_refused(tmp_path, content, problem):
    path = tmp_path / "poses.json"
    path.write_text(json.dumps(content))
    with pytest.raises(InputError, match=problem) as refused:
        read_conditions(path, BODYPARTS)
    assert str(path) in str(refused.value)


def test_assemblies_have_frame_numbers_and_more_columns(tmp_path):
    path = tmp_path / "dot_assemblies.pickle"
    more = np.concatenate([ANIMALS, np.zeros((2, 2, 1))], axis=2)
    content = {"single": {0: np.zeros((1, 3))}, 7: list(more), 3: more[:1], 5: []}
    path.write_bytes(pickle.dumps(content))
    found = read_conditions(path, BODYPARTS)
    np.testing.assert_allclose(values(found, [7]), [ANIMALS])
    np.testing.assert_allclose(values(found, [3, 5])[0, 0], ANIMALS[0])
    assert found.unknown(range(8)) == [0, 1, 2, 4, 6] and np.isnan(values(found, [5])).all()


@pytest.mark.parametrize(("protocol", "module"), [(3, b"numpy.core"), (4, None), (5, None)])
def test_pickled_arrays_and_numbers_of_any_numpy_are_read(protocol, module):
    content = {0: np.arange(6, dtype=np.float32).reshape(2, 3).T, 1: np.float64(3), 2: [1, "a"]}
    pickled = pickle.dumps(content, protocol)
    if module is not None:
        assert b"numpy._core" in pickled
        pickled = pickled.replace(b"numpy._core", module)
    found = load_numbers(io.BytesIO(pickled))
    np.testing.assert_array_equal(found[0], content[0])
    assert found[1] == 3 and found[2] == [1, "a"]


@pytest.mark.parametrize("hidden", [Called(), np.array([Called()], dtype=object)])
def test_a_pickle_that_calls_a_function_is_refused_and_nothing_is_called(tmp_path, hidden):
    path = tmp_path / "dot_assemblies.pickle"
    path.write_bytes(pickle.dumps({0: [hidden]}))
    with pytest.raises(InputError, match=r"it names .*test_condition_files\.call"):
        read_conditions(path, BODYPARTS)


@pytest.mark.parametrize("attribute", ["non_index_axes", "values_cols", "info", "TITLE"])
def test_a_table_whose_attribute_calls_a_function_is_refused(tmp_path, attribute):
    path = h5(tmp_path, table([ANIMALS]))
    with tables.open_file(path, "a") as file:
        attributes = file.get_node(f"/{KEY}")._v_attrs
        attributes._g_setattr(attributes._v_node, attribute, np.array(pickle.dumps(Called(), 0)))
    with pytest.raises(InputError, match=r"it names .*test_condition_files\.call"):
        read_conditions(path, BODYPARTS)


def test_the_guard_leaves_other_threads_and_later_pickles_alone():
    found = []
    content = pickle.dumps(InputError)
    with no_pickled_code():
        thread = threading.Thread(target=lambda: found.append(pickle.loads(content)))
        thread.start()
        thread.join()
        assert pickle.loads(pickle.dumps([1, "a"])) == [1, "a"]
    assert found == [InputError] and pickle.loads(content) is InputError
    with pytest.raises(InputError, match=r"it names dlc_deploy\.errors\.InputError"):
        with no_pickled_code():
            pickle.loads(content)
    with pytest.raises(ZeroDivisionError):
        with no_pickled_code():
            _ = 1 / 0


@pytest.mark.parametrize("name", ["poses.h5", "poses.json", "poses.pickle"])
def test_a_damaged_file_is_told(tmp_path, name):
    (tmp_path / name).write_bytes(b"\x80\x05 not what the name says")
    with pytest.raises(InputError, match=f"{name}: expected conditions, got a damaged file"):
        read_conditions(tmp_path / name, BODYPARTS)


@pytest.mark.parametrize(
    ("name", "problem"), [("absent.h5", "no such file"), ("poses.csv", "another format")]
)
def test_what_is_no_file_of_conditions_is_told(tmp_path, name, problem):
    (tmp_path / "poses.csv").write_text("a,b\n")
    with pytest.raises(InputError, match=f"got {problem}"):
        read_conditions(tmp_path / name, BODYPARTS)
