"""Part affinity fields: decoding, animals and targets, worked out by hand."""

from __future__ import annotations

import math
from itertools import combinations

import pytest

torch = pytest.importorskip("torch")

from dlc_deploy.errors import ConfigError  # noqa: E402
from dlc_deploy.training.models.predictors import PartAffinityFieldPredictor  # noqa: E402
from dlc_deploy.training.models.target_generators import (  # noqa: E402
    TARGET_GENERATORS,
    HeatmapPlateauGenerator,
    PartAffinityFieldGenerator,
)

pytestmark = pytest.mark.torch
BODYPARTS, HEIGHT, WIDTH = 3, 24, 30
GRAPH = list(combinations(range(BODYPARTS), 2))


def predictor(**options):
    """One that leaves heatmaps as they are, unless told otherwise."""
    return PartAffinityFieldPredictor(
        **{
            "num_animals": 2,
            "num_multibodyparts": BODYPARTS,
            "num_uniquebodyparts": 0,
            "graph": GRAPH,
            "edges_to_keep": list(range(len(GRAPH))),
            "locref_stdev": 2.0,
            "sigma": 0.1,
            "apply_sigmoid": False,
        }
        | options
    )


def outputs(*peaks):
    """One image with the peaks (bodypart, row, column, score) and empty fields."""
    heatmap = torch.zeros(1, BODYPARTS, HEIGHT, WIDTH)
    for part, row, column, score in peaks:
        heatmap[0, part, row, column] = score
    return {
        "heatmap": heatmap,
        "locref": torch.zeros(1, 2 * BODYPARTS, HEIGHT, WIDTH),
        "paf": torch.zeros(1, 2 * len(GRAPH), HEIGHT, WIDTH),
    }


def test_a_peak_lies_half_a_stride_rounded_down_beside_its_cell_and_is_moved_by_locref():
    given = outputs((1, 3, 5, 0.7))
    given["locref"][0, 2:4, 3, 5] = torch.tensor([0.5, -0.25])
    peaks = predictor().decode(5.0, given)["peaks"]
    assert peaks.shape == (1, BODYPARTS, 2, 3)
    torch.testing.assert_close(peaks[0, 1, 0], torch.tensor([28.0, 16.5, 0.7]))
    assert not peaks[0, 1, 1].any() and not peaks[0, [0, 2]].any()


def test_only_the_best_peaks_are_kept_best_first():
    peaks = [(0, 2, 2, 0.3), (0, 2, 12, 0.9), (0, 12, 2, 0.5), (0, 12, 12, 0.008)]
    found = predictor().decode(1.0, outputs(*peaks))["peaks"][0, 0]
    torch.testing.assert_close(found, torch.tensor([[12, 2, 0.9], [2, 12, 0.5]]))
    everything = predictor(num_animals=5).decode(1.0, outputs(*peaks))["peaks"][0, 0]
    # the fourth is no peak: it is lower than 0.01
    torch.testing.assert_close(everything[:, 2], torch.tensor([0.9, 0.5, 0.3, 0, 0]))


@pytest.mark.parametrize("higher", [0, 1])
def test_of_equal_peaks_the_first_in_reading_order_is_the_better_one(higher):
    places = [(row, column) for row in range(2, 22, 5) for column in range(2, 28, 5)]
    peaks = [(0, *place, 0.5) for place in places]
    best = [(0, 20, 27, 0.75)] * higher
    found = predictor(num_animals=7).decode(1.0, outputs(*peaks, *best))["peaks"][0, 0]
    cells = [(int(y), int(x)) for x, y, _ in found.tolist()]
    assert cells == [(20, 27)] * higher + places[: 7 - higher]


def test_a_flat_map_has_its_first_cells_as_peaks():
    given = outputs()
    given["heatmap"][:] = 0.5
    peaks = predictor().decode(1.0, given)["peaks"][0]
    assert peaks[:, :, :2].tolist() == [[[0, 0], [1, 0]]] * BODYPARTS


def test_heatmaps_are_squashed_and_smoothed():
    given = outputs((0, 9, 9, 3.0))
    given["heatmap"] -= 20
    given["heatmap"][0, 0, 9, 9] = 3.0
    score = predictor(apply_sigmoid=True, sigma=1.0).decode(1.0, given)["peaks"][0, 0, 0, 2]
    row = sum(math.exp(-(step**2) / 2) for step in range(-5, 6))
    assert score == pytest.approx(1 / (1 + math.exp(-3)) / row**2, rel=1e-5)


def test_nms_radius_is_the_width_of_the_window_in_which_a_peak_is_highest():
    given = outputs((0, 9, 9, 0.5), (0, 9, 11, 0.4))
    for width, count in ((3, 2), (5, 1)):
        found = predictor(nms_radius=width).decode(1.0, given)["peaks"][0, 0]
        assert (found[:, 2] > 0).sum() == count


def test_an_affinity_is_the_field_between_two_peaks_integrated_per_cell():
    given = outputs((0, 4, 5, 0.9), (1, 4, 14, 0.9), (2, 13, 5, 0.9))
    given["paf"][0, 0] = 0.5  # x of the edge 0-1, which runs along x
    given["paf"][0, 1] = 9.0  # y of it: nothing to integrate over
    given["paf"][0, 3] = -0.25  # y of the edge 0-2, which runs along y
    affinities = predictor().decode(1.0, given)["affinities"][0]
    assert affinities.shape == (3, 2, 2)
    assert affinities[:, 0, 0].tolist() == pytest.approx([0.5, 0.25, 0])
    assert not affinities.flatten(1)[:, 1:].any()


def test_samples_between_cells_are_cut_off_to_whole_cells():
    given = outputs((0, 4, 5, 0.9), (1, 4, 15, 0.9))
    # the ten samples lie in columns 5 to 13 and 15; the last but one is at 13.9
    given["paf"][0, 0, 4, 14] = 1.0
    assert not predictor().decode(1.0, given)["affinities"].any()
    given["paf"][0, 0, 4, 13] = 1.0
    assert predictor().decode(1.0, given)["affinities"][0, 0, 0, 0] == pytest.approx(0.15)


def test_affinities_are_rounded_to_a_thousandth():
    given = outputs((0, 4, 5, 0.9), (1, 4, 14, 0.9))
    given["paf"][0, 0] = 0.12345
    assert predictor().decode(1.0, given)["affinities"][0, 0, 0, 0] == pytest.approx(0.123)


def test_rows_of_affinities_are_peaks_of_the_first_bodypart_of_an_edge():
    given = outputs((0, 4, 5, 0.9), (0, 20, 5, 0.5), (1, 4, 14, 0.9), (1, 20, 14, 0.5))
    given["paf"][0, 0, 4] = 1.0
    given["paf"][0, 0, 20] = 0.5
    for column in range(6, 14):  # from the first peak of part 0 to the second of part 1
        given["paf"][0, 0, 4 + int((column - 5) / 9 * 16), column] = 1.0
    affinities = predictor().decode(1.0, given)["affinities"][0, 0]
    assert affinities.diagonal().tolist() == [1.0, 0.5]
    assert affinities[0, 1] > 2 * affinities[1, 0]


def test_only_the_edges_to_keep_are_read_in_their_order():
    given = outputs((0, 4, 5, 0.9), (1, 4, 14, 0.9), (2, 13, 5, 0.9))
    given["paf"][0, 0], given["paf"][0, 3] = 0.5, 0.25
    part = predictor(edges_to_keep=[1, 0])
    assert part.decode(1.0, given)["affinities"][0, :, 0, 0].tolist() == [0.25, 0.5]
    assert part.grouping.edges == ((0, 2), (0, 1))


def two_animals():
    given = outputs(
        *((part, 3, 4 + 9 * part, 0.9) for part in range(BODYPARTS)),
        *((part, 20, 4 + 9 * part, 0.6) for part in range(BODYPARTS - 1)),
    )
    given["paf"][0, ::2] = 0.5
    return given


def test_linked_peaks_are_animals_in_deeplabcuts_format():
    given = two_animals()
    given["paf"][0, :, 10:] = 0.1
    poses = predictor(num_animals=3)(4.0, given)["poses"]
    assert poses.shape == (1, 3, BODYPARTS, 5) and poses.dtype == torch.float32
    expected = torch.tensor(
        [[18.0, 14, 0.9, -1, 0.5], [54, 14, 0.9, -1, 0.5], [90, 14, 0.9, -1, 0.5]]
    )
    torch.testing.assert_close(poses[0, 0], expected)
    # the second has one link and an animal needs two
    assert (poses[0, 1:] == -1).all()


def test_an_absent_keypoint_of_a_present_animal_is_nan_with_score_0():
    poses = predictor(num_animals=1)(4.0, outputs((0, 3, 4, 0.9), (1, 3, 13, 0.6)))["poses"][0, 0]
    torch.testing.assert_close(poses[0], torch.tensor([18.0, 14, 0.9, -1, 0]))
    assert poses[2].isnan().tolist() == [True, True, False, True, False]
    assert poses[2, 2] == 0


def test_nothing_found_is_minus_1_throughout():
    poses = predictor(clip_scores=True)(4.0, outputs())["poses"]
    assert (poses == -1).all()


def test_scores_are_clipped_at_the_end_those_of_absent_animals_too():
    given = two_animals()
    given["heatmap"] *= 2
    poses = predictor(num_animals=3, clip_scores=True)(4.0, given)["poses"][0]
    assert (poses[0, :, 2] == 1).all()
    assert poses[2, 0].tolist() == [-1, -1, 0, -1, -1]


def test_the_state_dict_holds_no_constants_of_the_predictor():
    assert not predictor().state_dict()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"nms_radius": 4}, "odd nms_radius, got 4"),
        ({"edges_to_keep": []}, "at least one"),
        ({"edges_to_keep": [3]}, "graph of 3 edges"),
        ({"return_preds": True}, "return_preds false"),
    ],
)
def test_options_that_cannot_be_met_are_refused(options, message):
    with pytest.raises(ConfigError, match=message):
        predictor(**options)


@pytest.mark.slow
def test_the_decoder_is_exported_with_free_sizes(tmp_path):
    runtime = pytest.importorskip("onnxruntime")
    pytest.importorskip("onnxscript")
    from dlc_deploy.exporters.onnx import InputSize, write_onnx

    class Drawn(torch.nn.Module):
        """Brightness as heatmaps and fields."""

        def __init__(self):
            super().__init__()
            self.predictor = predictor(edges_to_keep=[2, 0])

        def forward(self, images):
            maps = images.float().permute(0, 3, 1, 2) / 255
            fields = torch.cat([maps, maps.flip(1)], 1) - 0.5
            decoded = self.predictor.decode(4.0, {"heatmap": maps, "locref": fields, "paf": fields})
            return tuple(decoded.values())

    graph, path = Drawn().eval(), tmp_path / "decoder.onnx"
    size = InputSize((56, 72), fixed=False)
    write_onnx(graph, path, size=size, outputs=("peaks", "affinities"))
    torch.manual_seed(0)
    images = torch.randint(0, 256, (3, 64, 36, 3), dtype=torch.uint8)
    session = runtime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    peaks, affinities = map(torch.from_numpy, session.run(None, {"images": images.numpy()}))
    expected = graph(images)
    # sums in another order; affinities may be rounded to the next thousandth
    torch.testing.assert_close(peaks, expected[0], rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(affinities, expected[1], rtol=0, atol=1.001e-3)
    assert (peaks[..., 2] > 0.1).all() and affinities.std() > 0.02


def labels(*animals):
    """Labels of one image; each animal is a list of (x, y, visibility)."""
    return {"keypoints": torch.tensor([animals], dtype=torch.float32)}


def fields(*animals, graph=((0, 1),), width=8.0, stride=4.0):
    generator = PartAffinityFieldGenerator(graph, width)
    given = {
        "heatmap": torch.zeros(1, 2, 6, 10),
        "paf": torch.zeros(1, 2 * len(graph), 6, 10),
    }
    targets = generator(stride, given, labels(*animals))
    assert targets["paf"].keys() == {"target"}
    return targets["paf"]["target"][0]


def test_a_field_points_along_its_line_and_falls_off_beside_it():
    field = fields([(10, 10, 2), (30, 10, 2)])
    assert field.shape == (2, 6, 10) and not field[1].any()
    # row 2 stands for y = 10, the others for 4 px more; columns 2 to 7 for x = 10 to 30
    assert field[0, 2].tolist() == [0, 0, 1, 1, 1, 1, 1, 1, 0, 0]
    assert field[0, :, 4].tolist() == [0, 0.5, 1, 0.5, 0, 0]


def test_a_field_of_a_slanting_line_has_both_parts():
    field = fields([(6, 2, 2), (18, 18, 2)], graph=((1, 0),))
    # (14, 10) lies 1.6 px beside the line
    assert field[:, 2, 3].tolist() == pytest.approx([-0.6 * 0.8, -0.8 * 0.8])


def test_edges_and_animals_have_their_own_fields_and_the_last_animal_wins():
    first, second = [(2, 10, 2), (38, 10, 2)], [(18, 2, 2), (18, 22, 2)]
    field = fields(first, second, graph=((0, 1), (1, 0)))
    assert field[:2, 2, 4].tolist() == [0, 1] and field[2:, 2, 4].tolist() == [0, -1]
    assert field[:2, 2, 8].tolist() == [1, 0]
    assert fields(second, first)[:, 2, 4].tolist() == [1, 0]


@pytest.mark.parametrize("end", [(30, 10, 0), (math.nan, math.nan, -1), (10, 10, 2)])
def test_without_two_visible_ends_apart_there_is_no_field(end):
    assert not fields([(10, 10, 2), end]).any()


def test_targets_of_several_generators_come_together():
    generator = TARGET_GENERATORS.build(
        {
            "type": "SequentialGenerator",
            "generators": [
                {"type": "HeatmapPlateauGenerator", "num_heatmaps": 2, "pos_dist_thresh": 5},
                {"type": "PartAffinityFieldGenerator", "graph": [[0, 1]], "width": 8},
            ],
        }
    )
    given = {"heatmap": torch.zeros(1, 2, 6, 10), "paf": torch.zeros(1, 2, 6, 10)}
    animal = [(10, 10, 2), (30, 10, 2)]
    targets = generator(4.0, given, labels(animal))
    assert targets.keys() == {"heatmap", "locref", "paf"}
    torch.testing.assert_close(targets["paf"]["target"][0], fields(animal))
    alone = HeatmapPlateauGenerator(2, 5)(4.0, given, labels(animal))
    assert torch.equal(targets["heatmap"]["target"], alone["heatmap"]["target"])


def test_the_predictor_finds_the_animals_that_the_targets_draw():
    animals = [[(14, 14, 2), (50, 20, 2), (86, 14, 2)], [(14, 70, 2), (50, 64, 2), (86, 70, 2)]]
    given = {
        name: torch.zeros(1, channels, HEIGHT, WIDTH)
        for name, channels in (("heatmap", 3), ("locref", 6), ("paf", 6))
    }
    generators = [
        HeatmapPlateauGenerator(3, 9, locref_std=2.0),
        PartAffinityFieldGenerator(GRAPH, 8),
    ]
    drawn = {}
    for generator in generators:
        for name, target in generator(4.0, given, labels(*animals)).items():
            drawn[name] = target["target"]
    poses = predictor(sigma=1.0)(4.0, drawn)["poses"][0]
    found = sorted(poses[..., :2].tolist(), key=lambda pose: pose[0][1])
    assert found == [[pytest.approx(point[:2]) for point in animal] for animal in animals]
