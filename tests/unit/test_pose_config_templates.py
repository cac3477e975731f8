"""Configurations for projects, without DeepLabCut's own to compare with (see tests/parity)."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from dlc_deploy.config import PoseConfig
from dlc_deploy.errors import ConfigError, OutputError
from dlc_deploy.training import available_detectors, available_models
from dlc_deploy.training.config import (
    make_pytorch_pose_config,
    read_config_as_dict,
    write_config,
)
from tests.projects import BODYPARTS, CORNERS, MICE, multi_animal, single_animal

BACKBONES = """resnet_50 resnet_101 hrnet_w18 hrnet_w32 hrnet_w48
    cspnext_s cspnext_m cspnext_x""".split()
BOTTOM_UP = """dekr_w18 dekr_w32 dekr_w48 dlcrnet_stride16_ms5 dlcrnet_stride32_ms5""".split()
TOP_DOWN = """rtmpose_s rtmpose_m rtmpose_x animaltokenpose_base""".split()
CONDITIONAL = """ctd_coam_w32 ctd_coam_w48 ctd_coam_w48_human
    ctd_prenet_hrnet_w32 ctd_prenet_hrnet_w48
    ctd_prenet_rtmpose_s ctd_prenet_rtmpose_m ctd_prenet_rtmpose_x
    ctd_prenet_rtmpose_x_human""".split()
PREFIXED = ["top_down_" + name for name in BACKBONES]
METHODS = (
    dict.fromkeys(BACKBONES + BOTTOM_UP, "bu")
    | dict.fromkeys(TOP_DOWN + PREFIXED, "td")
    | dict.fromkeys(CONDITIONAL, "ctd")
)


def made(net_type, project=None, **options):
    options = {"top_down": net_type in PREFIXED} | options
    if net_type in CONDITIONAL:
        options = {"ctd_conditions": 1} | options
    project = multi_animal() if project is None else project
    return make_pytorch_pose_config(project, "train/pytorch_config.yaml", net_type, **options)


def test_the_names_are_deeplabcuts():
    assert available_models() == sorted(METHODS)
    assert available_detectors() == [
        "fasterrcnn_mobilenet_v3_large_fpn",
        "fasterrcnn_resnet50_fpn_v2",
        "ssdlite",
    ]


def test_listing_the_names_imports_nothing_heavy():
    program = "import sys, dlc_deploy.training as t; t.available_models(); print(*sys.modules)"
    ran = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert not {"torch", "timm", "pydantic", "yaml"} & set(ran.stdout.split())


@pytest.mark.parametrize("net_type", METHODS)
def test_every_configuration_is_one_that_is_read(net_type, tmp_path):
    config = made(net_type)
    write_config(tmp_path / "pytorch_config.yaml", config)
    read = PoseConfig.from_yaml(tmp_path / "pytorch_config.yaml")
    assert read.method == METHODS[net_type]
    assert read.net_type == net_type.removeprefix("top_down_")
    assert read.metadata.bodyparts == BODYPARTS and read.metadata.individuals == MICE
    assert (read.detector is not None) == (read.method == "td")
    assert (read.data.inference.top_down_crop is not None) == (read.method != "bu")
    assert (read.data.gen_sampling is not None) == (read.method == "ctd")
    assert set(read.model.heads) == {"bodypart"}


@pytest.mark.parametrize("net_type", [*BACKBONES, *BOTTOM_UP])
def test_bottom_up_models_get_heads_for_unique_bodyparts_and_identities(net_type):
    heads = made(net_type, multi_animal(uniquebodyparts=CORNERS, identity=True))["model"]["heads"]
    assert list(heads) == ["bodypart", "unique_bodypart", "identity"]
    assert heads["unique_bodypart"]["heatmap_config"]["channels"][-1] == len(CORNERS)
    assert heads["unique_bodypart"]["target_generator"]["label_keypoint_key"] == "keypoints_unique"
    assert heads["identity"]["heatmap_config"]["channels"][-1] == len(MICE)


@pytest.mark.parametrize("net_type", [*PREFIXED, *TOP_DOWN, *CONDITIONAL])
@pytest.mark.parametrize(
    ("key", "value"), [("uniquebodyparts", CORNERS), ("identity", True)], ids=["unique", "identity"]
)
def test_crops_know_no_unique_bodyparts_and_no_identities(net_type, key, value):
    with pytest.raises(ConfigError, match=f"no head for {key}"):
        made(net_type, multi_animal(**{key: value}))


@pytest.mark.parametrize("net_type", BACKBONES)
def test_a_backbone_gets_affinity_fields_for_many_animals_only(net_type):
    many, one = made(net_type), made(net_type, single_animal())
    head = many["model"]["heads"]["bodypart"]
    assert head["predictor"]["graph"] == [[0, 1], [0, 2], [0, 3], [1, 2], [1, 3], [2, 3]]
    assert head["predictor"]["num_animals"] == len(MICE)
    assert head["paf_config"]["channels"][-1] == 2 * 6
    assert one["model"]["heads"]["bodypart"]["type"] == "HeatmapHead"


def test_a_large_graph_is_pruned_to_a_connected_one_of_degree_six():
    names = [f"part{number}" for number in range(20)]
    head = made("resnet_50", multi_animal(multianimalbodyparts=names))["model"]["heads"]["bodypart"]
    graph = head["predictor"]["graph"]
    assert len(graph) == len({tuple(edge) for edge in graph}) == 60
    assert all(first < second < 20 for first, second in graph)
    groups = [{number} for number in range(20)]
    for edge in graph:
        apart = [group for group in groups if group & set(edge)]
        groups = [group for group in groups if group not in apart] + [set().union(*apart)]
    assert len(groups) == 1
    assert head["predictor"]["edges_to_keep"] == list(range(60))
    assert head["target_generator"]["generators"][1]["graph"] == graph
    assert head["paf_config"]["channels"][-1] == 120


def test_fourteen_bodyparts_keep_all_pairs():
    names = [f"part{number}" for number in range(14)]
    config = made("dlcrnet_stride32_ms5", multi_animal(multianimalbodyparts=names))
    assert len(config["model"]["heads"]["bodypart"]["predictor"]["graph"]) == 14 * 13 // 2


def test_numbers_follow_the_project():
    names = ["a", "b", "c", "d", "e", "f", "g"]
    project = multi_animal(multianimalbodyparts=names, individuals=["x", "y"])
    head = made("dekr_w32", project)["model"]["heads"]["bodypart"]
    assert head["heatmap_config"]["channels"] == [480, 32, 8]
    assert head["offset_config"]["channels"] == [480, 105, 7]
    assert head["predictor"]["num_animals"] == 2
    assert made("rtmpose_m", project)["model"]["heads"]["bodypart"]["out_channels"] == 7
    encoder = made("ctd_coam_w32", project)["model"]["backbone"]["kpt_encoder"]
    assert encoder["num_joints"] == 7
    assert made("animaltokenpose_base", project)["model"]["neck"]["num_keypoints"] == 7


def test_dlcrnet_is_for_many_animals():
    with pytest.raises(ConfigError, match="multianimalproject: false"):
        made("dlcrnet_stride16_ms5", single_animal())


def test_the_former_name_of_dlcrnet_is_known():
    assert made("dlcrnet_ms5") == made("dlcrnet_stride16_ms5")


@pytest.mark.parametrize("name", ["resnet_51", "top_down_", "RESNET_50", ""])
def test_an_unknown_model_is_answered_with_the_list(name):
    with pytest.raises(ConfigError, match="expected one of animaltokenpose_base") as caught:
        made(name)
    assert repr(name) in str(caught.value)


def test_a_top_down_name_must_be_asked_for_as_top_down():
    with pytest.raises(ConfigError, match="Pass top_down=True"):
        made("top_down_resnet_50", top_down=False)


def test_the_projects_own_model_is_the_default():
    assert made(None, multi_animal(default_net_type="dekr_w48"))["net_type"] == "dekr_w48"
    assert made(None)["net_type"] == "resnet_50"
    with pytest.raises(ConfigError, match="got 'efficientnet-b0'"):
        made(None, multi_animal(default_net_type="efficientnet-b0"))


@pytest.mark.parametrize("name", available_detectors())
def test_a_detector_may_be_chosen(name):
    detector = made("rtmpose_s", detector_type=name)["detector"]
    assert detector["model"]["variant"] == (None if name == "ssdlite" else name)
    assert detector["train_settings"]["batch_size"] == (16 if name == "ssdlite" else 1)


def test_ssdlite_is_the_default_detector():
    assert made("rtmpose_s") == made("rtmpose_s", detector_type="ssdlite")


def test_an_unknown_detector_is_answered_with_the_list():
    with pytest.raises(ConfigError, match=r"ssdlite, got 'yolo'"):
        made("rtmpose_s", detector_type="yolo")


@pytest.mark.parametrize(
    ("conditions", "found"),
    [
        (3, {"shuffle": 3, "snapshot": None, "snapshot_index": None}),
        ((3, -1), {"shuffle": 3, "snapshot": None, "snapshot_index": -1}),
        ((3, "best.pt"), {"shuffle": 3, "snapshot": "best.pt", "snapshot_index": None}),
    ],
)
def test_conditions_are_a_shuffle_and_perhaps_its_snapshot(conditions, found):
    section = made("ctd_coam_w32", ctd_conditions=conditions)["inference"]["conditions"]
    assert section["source"] == "shuffle" and section.items() >= found.items()


def test_conditions_may_be_a_file_of_predictions(tmp_path):
    path = tmp_path / "predictions.h5"
    path.touch()
    config = made("ctd_prenet_rtmpose_s", ctd_conditions=path)
    assert config["inference"]["conditions"] == {"source": "file", "filepath": str(path)}


@pytest.mark.parametrize(
    "conditions", ["absent.h5", Path(__file__), (1,), (1, 2, 3), ("1", 2), (1, 2.5), 1.5, None]
)
def test_other_conditions_are_refused(conditions):
    with pytest.raises(ConfigError, match="ctd_conditions"):
        made("ctd_coam_w32", ctd_conditions=conditions)


def test_weights_to_start_from_are_completed_and_checked():
    start = {"snapshot_path": Path("snapshot.pt"), "with_decoder": True, "conversion_array": (2, 0)}
    section = made("rtmpose_s", weight_init=start)["train_settings"]["weight_init"]
    assert section["snapshot_path"] == "snapshot.pt" and section["conversion_array"] == [2, 0]
    assert section["memory_replay"] is False and section["dataset"] is None
    for wrong in ({"weights": 1}, {"memory_replay": True}, {"with_decoder": True}):
        with pytest.raises(ConfigError, match="weight_init"):
            made("rtmpose_s", weight_init=wrong)
    with pytest.raises(ConfigError, match="got 1 and 2"):
        made("rtmpose_s", weight_init=start | {"bodyparts": ["nose"]})


@pytest.mark.parametrize(
    ("project", "message"),
    [
        (single_animal(bodyparts="MULTI!"), "multianimalproject is false"),
        (single_animal(bodyparts=[]), "bodyparts: expected at least one name"),
        (single_animal(bodyparts=["a", "a"]), "every name once"),
        (single_animal(bodyparts="snout"), "expected a list of names"),
        (multi_animal(individuals=[]), "individuals: expected at least one name"),
        (multi_animal(multianimalbodyparts=None), "multianimalbodyparts"),
        (multi_animal(identity="yes"), "identity: expected true or false"),
    ],
)
def test_a_project_that_tells_too_little_is_refused(project, message):
    with pytest.raises(ConfigError, match=message):
        made("resnet_50", project)


def test_keys_without_a_value_are_keys_left_out():
    project = single_animal(uniquebodyparts=None, individuals=None, default_net_type=None)
    assert made(None, project) == made("resnet_50", single_animal())


def test_a_project_may_be_given_as_its_file(tmp_path):
    write_config(tmp_path / "config.yaml", multi_animal(project_path="/moved/since"))
    config = make_pytorch_pose_config(tmp_path / "config.yaml", "x.yaml", "resnet_50")
    assert config["metadata"]["project_path"] == str(tmp_path)
    assert config["metadata"]["pose_config_path"] == "x.yaml"


def test_a_coco_project_names_its_bodyparts_twice():
    """As DeepLabCut's own description of COCO projects has it."""
    assert made("hrnet_w32", multi_animal(bodyparts=BODYPARTS)) == made("hrnet_w32")


def test_a_configuration_can_be_edited_without_changing_the_next():
    config = made("ctd_prenet_rtmpose_x_human")
    config["data"]["train"]["top_down_crop"]["width"] = 1
    config["runner"]["scheduler"]["params"]["milestones"].append(7)
    assert config["data"]["inference"]["top_down_crop"]["width"] == 256
    again = made("ctd_prenet_rtmpose_x_human")
    assert again["data"]["train"]["top_down_crop"]["width"] == 256
    assert 7 not in again["runner"]["scheduler"]["params"]["milestones"]


def test_saving_makes_the_folder_and_reads_back_the_same(tmp_path):
    path = tmp_path / "new" / "train" / "pytorch_config.yaml"
    config = make_pytorch_pose_config(multi_animal(), path, "dekr_w18", save=True)
    assert read_config_as_dict(path) == config
    assert yaml.safe_load(path.read_text()) == config
    assert "&id" not in path.read_text()


def test_a_file_is_kept_where_it_is_not_to_be_overwritten(tmp_path):
    path = tmp_path / "config.yaml"
    write_config(path, {"a": 1})
    with pytest.raises(OutputError, match="overwrite=True"):
        write_config(path, {"a": 2}, overwrite=False)
    assert read_config_as_dict(path) == {"a": 1}
    write_config(path, {"a": 2})
    assert read_config_as_dict(path) == {"a": 2}


def test_what_cannot_be_written_or_read_is_told(tmp_path):
    with pytest.raises(ConfigError, match="expected plain values"):
        write_config(tmp_path / "config.yaml", {"a": object()})
    with pytest.raises(OutputError, match="could not be written"):
        write_config(tmp_path, {"a": 1})
    (tmp_path / "list.yaml").write_text("- a")
    for path, message in (("list.yaml", "got list"), ("absent.yaml", "no such file")):
        with pytest.raises(ConfigError, match=message):
            read_config_as_dict(tmp_path / path)


TEXTS = ["1e-05", "on", "no", "1:30", "0o7", "08", "null", "true", "1_000", "a: b", "2026-11-24"]


def test_texts_stay_texts_for_every_reader_of_yaml(tmp_path):
    path = tmp_path / "config.yaml"
    write_config(path, {"texts": TEXTS, "on": 1})
    assert (
        read_config_as_dict(path) == yaml.safe_load(path.read_text()) == {"texts": TEXTS, "on": 1}
    )


@pytest.mark.parametrize(
    ("text", "value"),
    [("5e-4", 5e-4), ("1E5", 1e5), ("-.5", -0.5), ("010", 10), ("0o10", 8), ("0x1F", 31)]
    + [(word, word) for word in ("on", "off", "yes", "no", "1:30", "y", "e5", "1.2.3")]
    + [("1_000", 1000), (".inf", float("inf")), ("~", None), ("True", True), ("-7", -7)],
)
def test_scalars_are_read_as_deeplabcut_reads_them(tmp_path, text, value):
    (tmp_path / "config.yaml").write_text(f"a: {text}")
    read = read_config_as_dict(tmp_path / "config.yaml")["a"]
    assert read == value and type(read) is type(value)


@pytest.mark.slow
@pytest.mark.torch
@pytest.mark.parametrize("net_type", METHODS)
def test_every_configuration_builds_a_network_whose_parts_fit(net_type):
    """On the meta device: shapes only, no numbers."""
    torch = pytest.importorskip("torch")
    from dlc_deploy.training.models import PoseModel

    extras = {"uniquebodyparts": CORNERS, "identity": True} if METHODS[net_type] == "bu" else {}
    config = made(net_type, multi_animal(**extras))
    with torch.device("meta"):
        model = PoseModel.build(config["model"], pretrained_backbone=False).eval()
        for module in model.modules():
            if isinstance(module, torch.nn.ConvTranspose2d):
                module.register_forward_pre_hook(takes_its_channels)
        height, width = image_size(config)
        given = {"cond_kpts": torch.zeros(1, 1, len(BODYPARTS), 3)}
        images = torch.zeros(1, 3, height, width)
        outputs = model(images, **given) if METHODS[net_type] == "ctd" else model(images)
    assert list(outputs) == list(config["model"]["heads"])
    names = {"bodypart": len(BODYPARTS), "unique_bodypart": len(CORNERS), "identity": len(MICE)}
    for head, keypoints in names.items():
        for name in {"heatmap", "x", "y"} & set(outputs.get(head, {})):
            centres = 1 if config["with_center_keypoints"] and head == "bodypart" else 0
            assert outputs[head][name].shape[:2] == (1, keypoints + centres)


def takes_its_channels(layer, arguments):
    """On the meta device a transposed convolution takes any number of channels."""
    assert arguments[0].shape[1] == layer.in_channels


def image_size(config):
    """(height, width) that a network is made for, which is not always what its data are cut to."""
    model = config["model"]
    width, height = model["heads"]["bodypart"].get("input_size", (256, 256))
    return model["backbone"].get("img_size", (height, width))
