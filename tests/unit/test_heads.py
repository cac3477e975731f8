from __future__ import annotations

from pathlib import Path

import pytest
import yaml

torch = pytest.importorskip("torch")

from dlc_deploy.config import PoseConfig  # noqa: E402
from dlc_deploy.errors import ConfigError  # noqa: E402
from dlc_deploy.exporters.export import export  # noqa: E402
from dlc_deploy.training.inference.heads import check_heads  # noqa: E402
from tests import small  # noqa: E402

pytestmark = pytest.mark.torch


def check(change=None, **parts):
    """Check the configuration of two mice after ``change`` of it."""
    content = small.config()
    small.several(content, **parts)
    if change is not None:
        change(content)
    check_heads(PoseConfig.model_validate(content), Path("snapshot.pt"))


def head(content):
    return content["model"]["heads"]["bodypart"]


@pytest.mark.parametrize("parts", [{}, {"unique": True}, {"identity": True}])
def test_what_is_whole_passes(parts):
    check(**parts)


@pytest.mark.parametrize("predictor", [None, [1], "PartAffinityFieldPredictor"])
def test_a_head_without_a_predictor_is_told(predictor):
    with pytest.raises(ConfigError, match=r"expected a predictor in the head bodypart, got .*\. G"):
        check(lambda content: head(content).update(predictor=predictor))
    with pytest.raises(ConfigError, match="expected a predictor in the head bodypart, got None"):
        check(lambda content: head(content).pop("predictor"))


@pytest.mark.parametrize("animals", [0, -1, None, "two", 2.5, True])
def test_a_number_of_animals_is_a_whole_number(animals):
    with pytest.raises(ConfigError, match=r"num_animals .* whole number from 1 on, got "):
        check(lambda content: head(content)["predictor"].update(num_animals=animals))


@pytest.mark.parametrize("animals", [1, 3])
def test_identities_need_as_many_animals_as_names(animals):
    def change(content):
        head(content)["predictor"]["num_animals"] = animals

    check(change)
    with pytest.raises(ConfigError, match=f"number of its individuals, 2, got {animals}"):
        check(change, identity=True)


@pytest.mark.parametrize("part", ["unique", "identity"])
def test_other_heads_of_a_top_down_model_are_not_dropped_in_silence(part):
    with pytest.raises(ConfigError, match="the head bodypart alone in a top-down model, got body"):
        check(lambda content: content.update(method="td"), **{part: True})


@pytest.mark.parametrize("key", ["bodyparts", "unique_bodyparts", "individuals"])
def test_names_differ(key):
    with pytest.raises(ConfigError, match=rf"different names in metadata\.{key}, got a, a"):
        check(lambda content: content["metadata"].update({key: ["a", "a"]}), unique=True)


@pytest.mark.parametrize("key", ["bodyparts", "unique_bodyparts", "individuals"])
def test_a_network_of_other_things_than_are_named_is_refused(tmp_path, key):
    content = small.config()
    small.several(content, unique=True, identity=True)
    snapshot = small.write_model(tmp_path, content)
    content["metadata"][key].append("other")
    content["model"]["heads"]["bodypart"]["predictor"]["num_animals"] += key == "individuals"
    (tmp_path / "pytorch_config.yaml").write_text(yaml.safe_dump(content))
    with pytest.raises(ConfigError, match=rf"metadata\.{key} \(.*other\), got one of \d\. Give"):
        export(snapshot, output=tmp_path / "mice")


def test_a_network_for_crops_with_other_bodyparts_is_refused(tmp_path):
    content = small.config(top_down=True)
    snapshot = small.write_model(tmp_path, content)
    torch.save(
        small.snapshot_of(small.detector(content, finds=True)), tmp_path / "snapshot-detector.pt"
    )
    content["metadata"]["bodyparts"].append("other")
    (tmp_path / "pytorch_config.yaml").write_text(yaml.safe_dump(content))
    with pytest.raises(ConfigError, match=r"of the 4 metadata\.bodyparts .*, got one of 3"):
        export(snapshot, detector=tmp_path / "snapshot-detector.pt", output=tmp_path / "mice")


def test_no_head_at_all():
    with pytest.raises(ConfigError, match="got none"):
        check(lambda content: content["model"].update(heads={}))
