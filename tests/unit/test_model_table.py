from __future__ import annotations

import dataclasses
import json

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")

from torch import nn  # noqa: E402

from dlc_deploy.benchmarks import model_figures, model_table, random_models  # noqa: E402
from dlc_deploy.benchmarks.model_figures import Figures  # noqa: E402
from dlc_deploy.benchmarks.model_table import (  # noqa: E402
    BEGIN,
    END,
    as_markdown,
    main,
    read_table,
    write_between_markers,
    write_table,
)
from dlc_deploy.benchmarks.random_models import Entry, RandomModel, entries  # noqa: E402
from dlc_deploy.benchmarks.random_weights import draw_weights  # noqa: E402
from dlc_deploy.errors import UsageError  # noqa: E402
from dlc_deploy.exporters.onnx import InputSize  # noqa: E402
from dlc_deploy.exporters.tensorrt_rtx import EngineCompileError  # noqa: E402
from dlc_deploy.preprocessing import Normalization  # noqa: E402
from dlc_deploy.training import available_detectors, available_models  # noqa: E402
from dlc_deploy.training.inference.graphs import PoseGraph  # noqa: E402
from tests import small  # noqa: E402

pytestmark = pytest.mark.torch
ROW = Figures(
    name="resnet_50",
    kind="one animal",
    parameters=24_171_620,
    onnx_bytes=97_400_000,
    points=48,
    px_max=0.0000234,
    score_max=1e-6,
    conditions=None,
    size=(480, 640),
    cpu_ms=512.3,
    wall_ms=520.0,
    engine_seconds=4.96,
    engine_bytes=134_352_244,
)
ENTRY = Entry("rtmpose_s", "top-down")


def cells(row):
    line = as_markdown([row]).splitlines()[2]
    return [cell.strip() for cell in line.strip("|").split(" | ")]


def test_a_row_says_each_figure_with_its_unit():
    assert cells(ROW) == [
        "`resnet_50`",
        "one animal",
        "24.2 M",
        "97 MB",
        "0.000023 px (48)",
        "512 ms",
        "134 MB in 5.0 s",
    ]


@pytest.mark.parametrize(
    ("changes", "cell", "expected"),
    [
        ({"cpu_ms": None, "wall_ms": None}, 5, ""),
        ({"cpu_ms": 7.126, "wall_ms": 8.0, "size": (256, 256)}, 5, "7.13 ms (256x256)"),
        ({"cpu_ms": 1234.5}, 5, "1234 ms"),
        ({"wall_ms": 900.0}, 5, r"512 ms \*"),
        ({"px_max": 0.0}, 4, "0 px (48)"),
        ({"px_max": 0.00347}, 4, "0.0035 px (48)"),
        ({"engine_bytes": None, "engine_seconds": None}, 6, ""),
        ({"engine_refused": "RoiAlign (node 'x'): a | b"}, 6, r"RoiAlign (node 'x'): a \| b"),
    ],
)
def test_what_is_special_about_a_row_is_told(changes, cell, expected):
    assert cells(dataclasses.replace(ROW, **changes))[cell] == expected


def test_the_table_has_as_many_cells_in_each_line_as_in_its_head():
    lines = as_markdown([ROW, ROW]).split("\n\n")[0].splitlines()
    assert len(lines) == 4
    assert {line.count("|") for line in lines} == {8}


def test_the_table_says_what_it_was_measured_on():
    note = as_markdown([ROW]).split("\n\n")[1]
    for fact in ("1 thread", "480x640", "ONNX Runtime 1.", "12 bodyparts", model_table.COMMAND):
        assert fact in note
    assert "Other programs" not in note
    assert "Other programs" in as_markdown([dataclasses.replace(ROW, wall_ms=900.0)])


def test_only_the_text_between_the_markers_is_replaced(tmp_path):
    path = tmp_path / "README.md"
    path.write_text(f"# A\n\n{BEGIN}\nold\n{END}\n\n## B\n")
    write_between_markers(path, "new")
    assert path.read_text() == f"# A\n\n{BEGIN}\n\nnew\n\n{END}\n\n## B\n"
    write_between_markers(path, "newer")
    assert path.read_text() == f"# A\n\n{BEGIN}\n\nnewer\n\n{END}\n\n## B\n"


@pytest.mark.parametrize(
    "content",
    ["", f"{BEGIN}\n", f"{END}\n", f"{END}\n{BEGIN}\n", f"{BEGIN}\n{END}\n{BEGIN}\n{END}\n"],
)
def test_a_readme_without_its_markers_is_left_alone(tmp_path, content):
    path = tmp_path / "README.md"
    path.write_text(content)
    with pytest.raises(UsageError, match=r"README\.md: expected a line"):
        write_between_markers(path, "new")
    assert path.read_text() == content


def test_our_readme_has_the_markers():
    text = model_table.README.read_text()
    assert text.count(BEGIN) == text.count(END) == 1


def test_every_name_has_a_row_and_backbones_one_for_several_animals_too():
    found = entries()
    assert {entry.name for entry in found} == {*available_models(), *available_detectors()}
    assert len({entry.key for entry in found}) == len(found)
    kinds = [(entry.name, entry.kind) for entry in found]
    for expected in [
        ("resnet_50", "one animal"),
        ("resnet_50", "several animals"),
        ("dlcrnet_stride16_ms5", "several animals"),
        ("top_down_resnet_50", "top-down"),
        ("ctd_coam_w32", "conditional top-down"),
        ("ssdlite", "detector"),
    ]:
        assert kinds.count(expected) == 1


@pytest.mark.parametrize(
    ("name", "width", "height"),
    [
        ("rtmpose_s", 256, 256),
        ("rtmpose_x", 384, 384),
        ("ctd_prenet_rtmpose_x_human", 288, 384),
        ("ctd_coam_w48_human", 288, 384),
    ],
)
def test_crops_have_the_size_that_a_network_is_made_for(name, width, height):
    crop = random_models._config(name, several=True)["data"]["inference"]["top_down_crop"]
    assert (crop["width"], crop["height"]) == (width, height)


def test_an_unknown_name_is_refused():
    with pytest.raises(UsageError, match=r"resnet_50.*got resnet_51"):
        entries(["resnet_51"])
    assert main(["--names", "resnet_51"]) == UsageError.exit_status


def test_figures_come_back_from_their_file_as_they_were(tmp_path):
    path = tmp_path / "figures.json"
    assert read_table(path) == read_table(None) == {}
    write_table(path, {"resnet_50, one animal": ROW})
    assert read_table(path) == {"resnet_50, one animal": ROW}
    assert json.loads(path.read_text())["machine"]["processor"]
    path.write_text('{"models": [{"name": "resnet_50"}]}')
    with pytest.raises(UsageError, match=r"figures\.json: expected figures"):
        read_table(path)


def test_a_model_is_measured(tmp_path, monkeypatch):
    graph = PoseGraph(small.model(), Normalization()).eval()
    model = RandomModel(graph, InputSize((48, 64), fixed=False), None, None)
    monkeypatch.setattr(model_figures, "random_model", lambda entry: model)
    monkeypatch.setattr(model_figures, "compile_engine", lambda path, **_: b"engine")
    monkeypatch.setattr(model_figures, "_SECONDS", 0.0)
    row = model_figures.measure_graph(ENTRY, tmp_path / "x.onnx")
    assert (row.name, row.kind) == (ENTRY.name, ENTRY.kind)
    assert row.parameters == sum(p.numel() for p in small.model().parameters())
    assert row.points == 4 * len(small.BODYPARTS)
    assert 0 < row.px_max <= 0.01 and 0 <= row.score_max <= 1e-3
    assert row.size == (480, 640) and row.onnx_bytes == (tmp_path / "x.onnx").stat().st_size
    row = model_figures.measure_speed(row, tmp_path / "x.onnx")
    assert 0 < row.cpu_ms and 0 < row.wall_ms
    row = model_figures.measure_engine(row, tmp_path / "x.onnx")
    assert row.engine_bytes == len(b"engine") and row.engine_seconds >= 0


def test_a_refusal_of_tensorrt_is_a_figure_too(tmp_path, monkeypatch):
    def refuse(path, **_):
        raise EngineCompileError(
            f"{path}: It refuses\n  Loop (node 'x'): no\n  If (node 'y'): no\n."
        )

    monkeypatch.setattr(model_figures, "compile_engine", refuse)
    row = model_figures.measure_engine(ROW, tmp_path / "x.onnx")
    assert row.engine_refused == "Loop (node 'x'): no; If (node 'y'): no"


@pytest.fixture
def steps(monkeypatch):
    """What the program measured, in turn; the figures are made up."""
    taken = []

    def graph(entry, path):
        taken.append(("graph", entry.name))
        path.write_bytes(b"onnx")
        empty = dict(cpu_ms=None, wall_ms=None, engine_seconds=None, engine_bytes=None)
        return dataclasses.replace(ROW, name=entry.name, kind=entry.kind, **empty)

    def engine(row, path):
        taken.append(("engine", row.name))
        return dataclasses.replace(row, engine_seconds=1.0, engine_bytes=path.stat().st_size)

    def speed(row, path):
        taken.append(("speed", row.name))
        return dataclasses.replace(row, cpu_ms=float(len(taken)), wall_ms=path.stat().st_size)

    monkeypatch.setattr(model_table, "measure_graph", graph)
    monkeypatch.setattr(model_table, "measure_engine", engine)
    monkeypatch.setattr(model_table, "measure_speed", speed)
    return taken


def test_what_is_measured_is_not_measured_again(steps, tmp_path):
    file = tmp_path / "figures.json"
    known = ["--names", "rtmpose_s", "--json", str(file)]
    files = ["--onnx", str(tmp_path / "onnx")]

    def after(*options):
        steps.clear()
        assert main([*known, *options]) == 0
        return [step for step, _ in steps], read_table(file)[ENTRY.key]

    taken, first = after(*files, "--speed", "later")
    assert taken == ["graph", "engine"] and first.cpu_ms is None
    taken, second = after(*files)
    assert taken == ["speed"]
    assert dataclasses.replace(second, cpu_ms=None, wall_ms=None) == first
    assert after(*files) == ([], second)
    # The file that is to be timed was not kept.
    taken, third = after("--speed", "again")
    assert taken == ["graph", "speed"] and third.cpu_ms != second.cpu_ms
    assert third.engine_bytes == second.engine_bytes


def test_all_figures_are_shown_and_no_other_file_stays(steps, tmp_path, capsys):
    file = tmp_path / "figures.json"
    assert main(["--names", "rtmpose_s", "ssdlite", "--json", str(file)]) == 0
    table = read_table(file)
    assert list(table) == [ENTRY.key, "ssdlite, detector"]
    assert as_markdown(list(table.values())) in capsys.readouterr().out
    assert [path.name for path in tmp_path.iterdir()] == ["figures.json"]


def test_a_model_that_fails_costs_no_other_its_figures(steps, tmp_path, monkeypatch, capsys):
    def fail(row, path):
        if row.name == "rtmpose_s":
            raise RuntimeError("no such layer")
        return row

    monkeypatch.setattr(model_table, "measure_engine", fail)
    file = tmp_path / "figures.json"
    assert main(["--names", "rtmpose_s", "ssdlite", "--json", str(file)]) == 1
    assert [row.cpu_ms is None for row in read_table(file).values()] == [True, False]
    assert "not measured: rtmpose_s, top-down" in capsys.readouterr().err


def test_the_readme_gets_all_rows_whatever_was_asked_for(steps, tmp_path, monkeypatch):
    readme, file = tmp_path / "README.md", tmp_path / "figures.json"
    readme.write_text(f"{BEGIN}\n{END}\n")
    monkeypatch.setattr(model_table, "README", readme)
    write_table(file, {"resnet_50, one animal": ROW})
    assert main(["--names", "rtmpose_s", "--json", str(file), "--readme"]) == 0
    assert "`resnet_50`" in readme.read_text() and "`rtmpose_s`" in readme.read_text()


def test_drawn_weights_keep_numbers_sane_through_a_deep_network():
    layers = [nn.Sequential(nn.Conv2d(8, 8, 3), nn.BatchNorm2d(8), nn.ReLU()) for _ in range(12)]
    network = nn.Sequential(nn.Conv2d(3, 8, 3), *layers).eval()
    images = torch.rand(2, 3, 48, 48, generator=torch.Generator().manual_seed(0)) * 255
    draw_weights(network, lambda: network(images))
    with torch.inference_mode():
        spread = [float(network[:i](images)[..., 4:-4, 4:-4].std()) for i in range(2, 14)]
    # The scale of a norm is drawn from 0.5 to 1.5.
    assert 0.2 < min(spread) and max(spread) < 2


def test_drawn_heads_give_what_trained_ones_do_and_the_seed_decides():
    def outputs(seed):
        model = small.model()
        images = torch.rand(2, 3, 48, 64, generator=torch.Generator().manual_seed(0))
        draw_weights(model, lambda: model(images), seed)
        with torch.inference_mode():
            return model(images)["bodypart"]

    first, again, other = outputs(1), outputs(1), outputs(2)
    assert float(first["heatmap"].std()) == pytest.approx(0.3, rel=1e-3)
    assert float(first["locref"].std()) == pytest.approx(0.5, rel=1e-3)
    assert torch.equal(first["heatmap"], again["heatmap"])
    assert not torch.equal(first["heatmap"], other["heatmap"])


def test_deformable_convolutions_sample_a_pixel_away_or_two():
    class Deformed(nn.Module):
        def __init__(self):
            super().__init__()
            self.first = nn.Conv2d(3, 8, 3, padding=1)
            self.translation_conv = nn.Conv2d(8, 2, 3)
            self.bn = nn.BatchNorm2d(2)

        def forward(self, x):
            return self.bn(self.translation_conv(self.first(x)))

    network = Deformed().eval()
    images = torch.rand(2, 3, 24, 24, generator=torch.Generator().manual_seed(0)) * 255
    draw_weights(network, lambda: network(images))
    with torch.inference_mode():
        offsets = network.translation_conv(network.first(images))
    assert float(offsets.std()) == pytest.approx(0.3, rel=1e-3)
    # The norm behind them has seen the offsets as they are now.
    mean = offsets.mean((0, 2, 3))
    torch.testing.assert_close(network.bn.running_mean, mean, rtol=1e-3, atol=1e-5)
