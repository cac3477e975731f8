"""Files of a user's own models."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch")

from dlc_deploy.errors import UsageError  # noqa: E402
from dlc_deploy.registration import register_models  # noqa: E402
from dlc_deploy.training.models.backbones import BACKBONES  # noqa: E402

pytestmark = pytest.mark.torch
TEXT = """
from dlc_deploy.training.models.backbones import BACKBONES, BaseBackbone
from {helper} import STRIDE

@BACKBONES.register_module
class {name}(BaseBackbone):
    def __init__(self):
        super().__init__(stride=STRIDE)

    def forward(self, x):
        return x[..., ::STRIDE, ::STRIDE]
"""


def write(folder, name, helper="stride_of_mine"):
    (folder / f"{helper}.py").write_text("STRIDE = 3\n")
    path = folder / f"models_with_{name}.py"
    path.write_text(TEXT.format(name=name, helper=helper))
    return path


def test_a_file_registers_its_classes_and_finds_what_lies_beside_it(tmp_path, monkeypatch):
    monkeypatch.setattr("sys.path", [*__import__("sys").path])
    register_models(str(write(tmp_path, "Thinning")))
    backbone = BACKBONES.build({"type": "Thinning"})
    assert backbone(torch.rand(1, 3, 9, 12)).shape == (1, 3, 3, 4)


def test_a_module_is_imported_by_its_name(tmp_path, monkeypatch):
    write(tmp_path, "ThinningToo", "another_stride_of_mine")
    monkeypatch.syspath_prepend(str(tmp_path))
    assert "ThinningToo" not in BACKBONES
    module = register_models("models_with_ThinningToo")
    assert "ThinningToo" in BACKBONES and module.STRIDE == 3


def test_what_cannot_be_executed_is_told_with_the_place(tmp_path):
    path = tmp_path / "broken.py"
    path.write_text("x = 1\nraise ValueError('no such thing')\n")
    with pytest.raises(UsageError, match=r"ValueError: no such thing \(broken\.py, line 2\)"):
        register_models(path)
    with pytest.raises(UsageError, match=r"nowhere\.py: expected a Python file .* found no file"):
        register_models("nowhere.py")
    with pytest.raises(UsageError, match=r"no_such_module: .*ModuleNotFoundError"):
        register_models("no_such_module")
