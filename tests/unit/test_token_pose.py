"""TokenPose's neck and head on small numbers."""

from __future__ import annotations

import math

import pytest

torch = pytest.importorskip("torch")

from torch import nn  # noqa: E402

from dlc_deploy.errors import ConfigError  # noqa: E402
from dlc_deploy.training.models.heads import TransformerHead  # noqa: E402
from dlc_deploy.training.models.model import build_head  # noqa: E402
from dlc_deploy.training.models.modules.transformer_layers import (  # noqa: E402
    Attention,
    TransformerLayer,
)
from dlc_deploy.training.models.necks import NECKS  # noqa: E402

pytestmark = pytest.mark.torch
KEYPOINTS, DIM = 3, 8


def neck(**options):
    torch.manual_seed(0)
    base = {
        "type": "Transformer",
        "feature_size": [6, 8],
        "patch_size": [3, 2],
        "num_keypoints": KEYPOINTS,
        "channels": 5,
        "dim": DIM,
        "heads": 2,
        "depth": 2,
    }
    built = NECKS.build(base | options).eval()
    nn.init.normal_(built.keypoint_token)
    if built.pos_embedding.requires_grad:
        nn.init.normal_(built.pos_embedding)
    return built


def features(seed=1):
    return torch.randn(2, 5, 6, 8, generator=torch.Generator().manual_seed(seed))


def test_features_become_a_token_of_three_lengths_for_each_keypoint():
    assert neck()(features()).shape == (2, KEYPOINTS, 3 * DIM)


def test_a_patch_is_read_row_by_row_with_its_channels_innermost():
    x = features()
    patches = neck()._patches(x)
    assert patches.shape == (2, 2 * 4, 3 * 2 * 5)
    # the patch in the second row and third column
    expected = x[1, :, 3:6, 4:6].permute(1, 2, 0).flatten()
    assert torch.equal(patches[1, 4 + 2], expected)


@pytest.mark.parametrize("changed", [0, 1, 2])
def test_each_third_of_a_token_comes_from_a_transformer_after_the_one_before(changed):
    one, x = neck(), features()
    before = one(x)
    transformer = (one.transformer1, one.transformer2, one.transformer3)[changed]
    with torch.no_grad():
        transformer.layers[1][1].fn.fn.net[3].bias += torch.linspace(-1, 1, DIM)
    moved = (one(x) - before).abs().amax((0, 1)).reshape(3, DIM).amax(1) > 1e-4
    assert moved.tolist() == [third >= changed for third in range(3)]


def test_what_a_keypoint_sees_depends_on_where_the_patches_lie():
    x = features()
    for kind in ("sine", "sine-full", "learnable"):
        one = neck(pos_embedding_type=kind)
        assert not torch.allclose(one(x), one(x.roll(3, dims=2)), atol=1e-4)


def test_sines_are_added_again_in_the_later_transformers_only_where_full():
    x = features()
    once, full = neck(pos_embedding_type="sine")(x), neck(pos_embedding_type="sine-full")(x)
    assert torch.equal(once[..., :DIM], full[..., :DIM])
    assert not torch.allclose(once[..., DIM:], full[..., DIM:], atol=1e-4)
    shallow = [neck(pos_embedding_type=kind, depth=1)(x) for kind in ("sine", "sine-full")]
    assert torch.equal(*shallow)


def test_only_learnable_positions_are_trained_and_belong_to_keypoints_too():
    assert not neck().pos_embedding.requires_grad
    learnable = neck(pos_embedding_type="learnable").pos_embedding
    assert learnable.requires_grad and learnable.shape == (1, 2 * 4 + KEYPOINTS, DIM)


def test_sines_tell_the_row_in_their_first_half_and_the_column_in_the_other():
    sines = neck().pos_embedding.reshape(2, 4, DIM)
    assert torch.equal(sines[:, :1].expand(-1, 4, -1)[..., : DIM // 2], sines[..., : DIM // 2])
    assert torch.equal(sines[:1].expand(2, -1, -1)[..., DIM // 2 :], sines[..., DIM // 2 :])
    # row 1 of 2 is half a turn, column 1 of 4 a quarter; periods are 1 and 100 turns
    half = 2 * math.pi / 2
    expected = [math.sin(half), math.cos(half), math.sin(half / 100), math.cos(half / 100)]
    assert sines[0, 0, :4].tolist() == pytest.approx(expected, abs=1e-5)
    assert sines[0, 0, 4].item() == pytest.approx(math.sin(2 * math.pi / 4), abs=1e-5)


def test_attention_is_torchs():
    torch.manual_seed(0)
    ours, theirs = Attention(DIM, 2), nn.MultiheadAttention(DIM, 2, batch_first=True)
    theirs.in_proj_weight, theirs.in_proj_bias = ours.to_qkv.weight, None
    theirs.out_proj = ours.to_out[0]
    tokens = torch.randn(2, 5, DIM)
    expected, _ = theirs(tokens, tokens, tokens)
    torch.testing.assert_close(ours(tokens), expected)


def test_a_layer_adds_to_its_tokens():
    layer, tokens = TransformerLayer(DIM, 2, 2, 3), torch.randn(2, 5, DIM)
    position = torch.randn(1, 5, DIM)
    with torch.no_grad():
        for name, parameter in layer.named_parameters():
            if "to_out" in name or "net.3" in name:
                parameter.zero_()
    assert torch.equal(layer(tokens), tokens)
    assert torch.equal(layer(tokens, position), tokens + position)


def test_the_batch_stays_free_in_an_export():
    one = neck()
    free = {"x": {0: torch.export.Dim("batch", min=1, max=64)}}
    program = torch.export.export(one, (features(),), dynamic_shapes=free).module()
    x = features().repeat(3, 1, 1, 1)[:5]
    torch.testing.assert_close(program(x), one(x))


def test_weights_are_drawn_narrow_where_asked_for():
    wide, narrow = (neck(apply_init=value, dim=64) for value in (False, True))
    assert wide.patch_to_embedding.weight.std() > 0.05
    assert narrow.patch_to_embedding.weight.std().item() == pytest.approx(0.02, rel=0.1)
    assert not narrow.patch_to_embedding.bias.any()


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"pos_embedding_type": "none"}, "expected pos_embedding_type sine-full, .*got 'none'"),
        ({"heads": 3}, "multiple of heads, got 8 and 3"),
    ],
)
def test_options_that_do_not_fit_are_refused(options, reason):
    with pytest.raises(ConfigError, match=reason):
        neck(**options)


def head(**options):
    torch.manual_seed(0)
    base = {
        "type": "TransformerHead",
        "predictor": {"type": "HeatmapPredictor", "location_refinement": False},
        "target_generator": {
            "type": "HeatmapPlateauGenerator",
            "num_heatmaps": KEYPOINTS,
            "pos_dist_thresh": 17,
            "heatmap_mode": "KEYPOINT",
            "generate_locref": False,
        },
        "criterion": {"type": "WeightedBCECriterion"},
        "dim": DIM,
        "hidden_heatmap_dim": 48,
        "heatmap_dim": 20,
        "apply_multi": True,
        "heatmap_size": [4, 5],
        "apply_init": False,
        "head_stride": 1,
    }
    return build_head(base | options).eval()


def test_a_token_becomes_a_heatmap_row_by_row():
    one, tokens = head(), torch.randn(2, KEYPOINTS, 3 * DIM)
    heatmap = one(tokens)["heatmap"]
    assert isinstance(one, TransformerHead) and heatmap.shape == (2, KEYPOINTS, 4, 5)
    assert torch.equal(heatmap.flatten(2), one.mlp_head(tokens))


@pytest.mark.parametrize(
    ("options", "layers"),
    [({}, 4), ({"hidden_heatmap_dim": 47}, 2), ({"apply_multi": False}, 2)],
)
def test_a_hidden_layer_is_there_if_it_is_twice_as_wide_as_a_token(options, layers):
    kinds = [type(layer) for layer in head(**options).mlp_head]
    assert kinds == [nn.LayerNorm, nn.Linear] * (layers // 2)


def test_the_heads_weights_are_drawn_narrow_where_asked_for():
    narrow = head(apply_init=True, heatmap_dim=400, heatmap_size=[20, 20]).mlp_head[3]
    assert narrow.weight.std().item() == pytest.approx(0.02, rel=0.1) and not narrow.bias.any()


def test_a_head_trains():
    one = head()
    tokens = torch.randn(1, KEYPOINTS, 3 * DIM, requires_grad=True)
    outputs = one(tokens)
    labels = {"keypoints": torch.tensor([[[[6.0, 6, 2], [10, 10, 2], [2, 2, 0]]]])}
    loss = one.get_loss(outputs, one.target_generator(4.0, outputs, labels))
    loss["total_loss"].backward()
    assert tokens.grad.any()
