"""Models that DeepLabCut 3.0.2 trained and evaluated on the open-field project, evaluated here."""

from __future__ import annotations

import shutil

import numpy as np
import pandas as pd
import pytest

torch = pytest.importorskip("torch")

from dlc_deploy.training.apis.evaluation import evaluate_network  # noqa: E402
from dlc_deploy.training.inference import build  # noqa: E402
from tests.reference import REFERENCE, needs_reference  # noqa: E402

pytestmark = [pytest.mark.torch, needs_reference]
RESULTS = REFERENCE / "openfield" / "evaluation-results-pytorch" / "iteration-0"


@pytest.fixture(scope="module")
def openfield(tmp_path_factory):
    """A copy without results; videos are not needed."""
    folder = tmp_path_factory.mktemp("openfield") / "project"
    unused = shutil.ignore_patterns("evaluation-results-pytorch", "predictions", "videos")
    shutil.copytree(REFERENCE / "openfield", folder, ignore=unused)
    return folder


def theirs(evaluation, ending):
    folder = evaluation.files[0].parent.name
    return RESULTS / folder / f"{evaluation.scorer}{ending}"


@pytest.mark.parametrize("shuffle", [1, 2])
def test_deeplabcuts_predictions_give_its_figures_and_files(openfield, monkeypatch, shuffle):
    table = pd.read_hdf(next(RESULTS.glob(f"*shuffle{shuffle}/*.h5")))

    class Known:
        def inference(self, images):
            paths = [image[0] if isinstance(image, tuple) else image for image in images]
            rows = [table.loc[tuple(path.split("/")[-3:])].to_numpy() for path in paths]
            return [{"bodyparts": row.reshape(1, 4, 3)} for row in rows]

    monkeypatch.setattr(build, "get_inference_runners", lambda **_: (Known(), Boxes()))
    (evaluation,) = evaluate_network(openfield, [shuffle], show_errors=False)
    assert evaluation.images == {"train": 110, "test": 6}
    assert evaluation.files[1].read_text() == theirs(evaluation, "-results.csv").read_text()
    pd.testing.assert_frame_equal(pd.read_hdf(evaluation.files[0]), table)


class Boxes:
    def inference(self, images):
        return [{"bboxes": np.zeros((1, 4))} for _ in images]


@pytest.mark.slow
def test_deeplabcuts_snapshots_give_its_figures_and_predictions(openfield):
    """Shuffle 2: rtmpose_s with its detector; the other takes minutes of a small machine."""
    (evaluation,) = evaluate_network(openfield, [2], device="cpu", show_errors=False)
    assert evaluation.detector == "snapshot-detector-best-030.pt"
    assert evaluation.figures["test rmse"] == 4.07 and evaluation.figures["train rmse"] == 3.15
    assert evaluation.files[1].read_text() == theirs(evaluation, "-results.csv").read_text()
    ours, known = pd.read_hdf(evaluation.files[0]), pd.read_hdf(theirs(evaluation, ".h5"))
    assert ours.columns.equals(known.columns) and ours.index.equals(known.index)
    apart = (ours - known).abs().to_numpy().reshape(116, 4, 3)
    assert apart[..., :2].max() <= 0.01  # half of SimCC's bins are 0.3 px: no other bin is chosen
    # Scores are softmaxes of logits times 849, which enlarges the rounding of another thread count.
    assert apart[..., 2].max() <= 2e-3
