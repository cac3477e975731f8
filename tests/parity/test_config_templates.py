"""Configurations made for a project against those that DeepLabCut made for the same project."""

from __future__ import annotations

import pytest

from dlc_deploy.training.config import make_pytorch_pose_config, read_config_as_dict
from tests.projects import CORNERS, multi_animal, single_animal
from tests.reference import REFERENCE, needs_reference

pytestmark = needs_reference

WHERE = {"project_path": "PROJECT_PATH"}
ONE, MANY = single_animal(**WHERE), multi_animal(identity=False, **WHERE)
NAMED = multi_animal(identity=True, **WHERE)
UNIQUE = multi_animal(identity=False, uniquebodyparts=CORNERS, **WHERE)
NAMED_UNIQUE = multi_animal(identity=True, uniquebodyparts=CORNERS, **WHERE)
TOP_DOWN = {"top_down": True}
CONDITIONS = {"ctd_conditions": 1}
FAMILIES = {
    "resnet_50": (ONE, "resnet_50", {}),
    "resnet_50_paf": (MANY, "resnet_50", {}),
    "resnet_50_paf_identity": (NAMED, "resnet_50", {}),
    "resnet_50_paf_unique": (UNIQUE, "resnet_50", {}),
    "resnet_101": (ONE, "resnet_101", {}),
    "hrnet_w18": (ONE, "hrnet_w18", {}),
    "hrnet_w18_paf_identity_unique": (NAMED_UNIQUE, "hrnet_w18", {}),
    "hrnet_w32": (ONE, "hrnet_w32", {}),
    "cspnext_s": (ONE, "cspnext_s", {}),
    "cspnext_s_paf": (MANY, "cspnext_s", {}),
    "dlcrnet_stride16_ms5": (MANY, "dlcrnet_stride16_ms5", {}),
    "dlcrnet_stride16_ms5_identity": (NAMED, "dlcrnet_stride16_ms5", {}),
    "dlcrnet_stride32_ms5": (MANY, "dlcrnet_stride32_ms5", {}),
    "dekr_w18": (MANY, "dekr_w18", {}),
    "dekr_w18_identity": (NAMED, "dekr_w18", {}),
    "dekr_w18_unique": (UNIQUE, "dekr_w18", {}),
    "dekr_w18_single": (ONE, "dekr_w18", {}),
    "rtmpose_s": (ONE, "rtmpose_s", TOP_DOWN),
    "rtmpose_s_multi": (MANY, "rtmpose_s", TOP_DOWN),
    "top_down_resnet_50": (MANY, "top_down_resnet_50", TOP_DOWN),
    "top_down_hrnet_w18": (MANY, "top_down_hrnet_w18", TOP_DOWN),
    "top_down_cspnext_s": (MANY, "cspnext_s", TOP_DOWN),
    "animaltokenpose_base": (MANY, "animaltokenpose_base", TOP_DOWN),
    "ctd_coam_w32": (MANY, "ctd_coam_w32", CONDITIONS),
    "ctd_prenet_rtmpose_s": (MANY, "ctd_prenet_rtmpose_s", CONDITIONS),
    "ctd_prenet_hrnet_w32": (MANY, "ctd_prenet_hrnet_w32", CONDITIONS),
    "ssdlite": (MANY, "rtmpose_s", TOP_DOWN | {"detector_type": "ssdlite"}),
    "fasterrcnn_mobilenet_v3_large_fpn": (
        MANY,
        "rtmpose_s",
        TOP_DOWN | {"detector_type": "fasterrcnn_mobilenet_v3_large_fpn"},
    ),
    "fasterrcnn_resnet50_fpn_v2": (
        MANY,
        "rtmpose_s",
        TOP_DOWN | {"detector_type": "fasterrcnn_resnet50_fpn_v2"},
    ),
}


def deeplabcuts(name):
    return read_config_as_dict(REFERENCE / "families" / name / "pytorch_config.yaml")


def test_every_family_of_the_reference_is_compared():
    assert sorted(FAMILIES) == sorted(path.name for path in (REFERENCE / "families").iterdir())


@pytest.mark.parametrize("name", FAMILIES)
def test_the_configuration_is_deeplabcuts(name):
    project, net_type, options = FAMILIES[name]
    expected = deeplabcuts(name)
    made = make_pytorch_pose_config(project, "pytorch_config.yaml", net_type, **options)
    assert made == expected
    assert list(made) == list(expected)


def test_numbers_are_read_as_deeplabcut_reads_them():
    scheduler = deeplabcuts("hrnet_w18")["runner"]["scheduler"]
    assert scheduler["params"]["lr_list"] == [[1e-5], [1e-6]]
