"""Maps of individuals: the whole map, and its scores at single points."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch")

from dlc_deploy.training.models.predictors import IdentityPredictor  # noqa: E402

pytestmark = pytest.mark.torch


def maps(height=5, width=7, individuals=3):
    torch.manual_seed(0)
    return {"heatmap": 3 * torch.randn(2, individuals, height, width)}


def test_the_map_is_as_large_as_its_cells_times_the_stride():
    for stride, size in ((8.0, (40, 56)), (2.5, (12, 17)), (1.0, (5, 7))):
        assert IdentityPredictor()(stride, maps())["heatmap"].shape == (2, *size, 3)


def test_the_sigmoid_comes_after_enlarging():
    heatmap = torch.tensor([-8.0, 2.0]).view(1, 1, 1, 2)
    found = IdentityPredictor()(2.0, {"heatmap": heatmap})["heatmap"][0, 0, :, 0]
    # between the centres of two cells, at a quarter and three quarters of the way
    expected = torch.tensor([-8.0, -5.5, -0.5, 2.0])
    torch.testing.assert_close(found, expected.sigmoid())
    plain = IdentityPredictor(apply_sigmoid=False)(2.0, {"heatmap": heatmap})["heatmap"]
    torch.testing.assert_close(plain[0, 0, :, 0], expected)


@pytest.mark.parametrize("apply_sigmoid", [True, False])
@pytest.mark.parametrize("stride", [8.0, 5.0, 2.5, 1.0])
def test_scores_at_points_are_those_of_the_map(stride, apply_sigmoid):
    predictor, outputs = IdentityPredictor(apply_sigmoid), maps()
    whole = predictor(stride, outputs)["heatmap"]
    height, width = whole.shape[1:3]
    points = torch.rand(2, 4, 6, 2) * torch.tensor([width, height]) * 1.5 - 5
    scores = predictor.scores_at(stride, outputs, points)
    x = points[..., 0].round().long().clamp(0, width - 1)
    y = points[..., 1].round().long().clamp(0, height - 1)
    image = torch.arange(2)[:, None, None]
    assert scores.shape == (2, 4, 6, 3) and scores.std() > 0.1
    # the map is made in another order of sums
    torch.testing.assert_close(scores, whole[image, y, x], rtol=1e-5, atol=1e-5)


def test_points_are_rounded_half_to_even_and_clipped():
    predictor, outputs = IdentityPredictor(), maps()

    def at(*points):
        return predictor.scores_at(8.0, outputs, torch.tensor([points] * 2))

    given = at((10.5, 19.5), (-9.0, 4.0), (1e4, 1e4))
    assert torch.equal(given, at((10.0, 20.0), (0.0, 4.0), (55.0, 39.0)))
    assert not torch.allclose(given[:, 0], at((11.0, 20.0))[:, 0], atol=1e-4)


def test_points_may_be_in_any_number_of_rows():
    predictor, outputs = IdentityPredictor(), maps()
    points = 20 * torch.rand(2, 6, 2)
    flat = predictor.scores_at(8.0, outputs, points)
    assert flat.shape == (2, 6, 3)
    assert torch.equal(
        predictor.scores_at(8.0, outputs, points.view(2, 3, 2, 2)).flatten(1, 2), flat
    )
    assert torch.equal(predictor.scores_at(8.0, outputs, points[:, 0]), flat[:, 0])


@pytest.mark.slow
def test_scores_are_exported_with_free_sizes(tmp_path):
    runtime = pytest.importorskip("onnxruntime")
    pytest.importorskip("onnxscript")
    from dlc_deploy.exporters.onnx import InputSize, write_onnx

    class Drawn(torch.nn.Module):
        """Brightness as maps, read at points that lie far into any image."""

        def forward(self, images):
            heatmap = images.float().permute(0, 3, 1, 2) / 255
            points = heatmap[:, :2, :6, :5].movedim(1, -1) * 300
            return IdentityPredictor().scores_at(4.0, {"heatmap": heatmap}, points)

    path = tmp_path / "identity.onnx"
    write_onnx(Drawn().eval(), path, size=InputSize((56, 72), fixed=False), outputs=("identity",))
    session = runtime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    # larger and smaller than what was traced: nothing of that size is left in the file
    for height, width in ((64, 36), (33, 70)):
        images = torch.randint(0, 256, (3, height, width, 3), dtype=torch.uint8)
        (scores,) = session.run(None, {"images": images.numpy()})
        torch.testing.assert_close(torch.from_numpy(scores), Drawn()(images), rtol=0, atol=1e-6)
