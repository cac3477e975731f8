"""Processes that train: killed at any moment, and several that train one model."""

from __future__ import annotations

import csv
import multiprocessing
import random
import signal
import time

import pytest

torch = pytest.importorskip("torch")

from tests import training_runs  # noqa: E402

pytestmark = [pytest.mark.torch, pytest.mark.slow]
# Processes that begin with everything imported.
PROCESSES = multiprocessing.get_context("forkserver")
PROCESSES.set_forkserver_preload(["tests.training_runs"])


def prepare(folder, backbone="SmallBackbone", locref=0.05, **settings):
    content = training_runs.config(**settings)
    content["model"]["backbone"] = {"type": backbone}
    content["model"]["heads"]["bodypart"]["criterion"]["locref"]["weight"] = locref
    content["runner"]["optimizer"] = {"type": "SGD", "params": {"lr": 0.1, "momentum": 0.9}}
    content["runner"]["snapshots"]["max_snapshots"] = 2
    training_runs.DrawnLoader(folder, content, train=8)
    return folder


def start(folder, **environment):
    process = PROCESSES.Process(target=training_runs.train_in, args=(folder, environment))
    process.start()
    return process


def ended(process):
    process.join(timeout=120)
    assert process.exitcode == 0


def snapshots_of(folder):
    return {path.name: path for path in (folder / "train").glob("*.pt")}


def table_of(folder):
    with (folder / "train" / "learning_stats.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def test_a_run_killed_at_random_moments_ends_as_the_undisturbed_one(tmp_path):
    """Bit for bit: on a CPU nothing but the random numbers differs between runs, and those follow
    from seed and epoch."""
    undisturbed, killed = (prepare(tmp_path / name, epochs=40) for name in "ab")
    ended(start(undisturbed))
    moments = random.Random(0)
    state = killed / "train" / "unfinished-snapshot.pt"
    deaths = 0
    for _ in range(5):
        process = start(killed)
        _wait_until(lambda process=process: state.exists() or not process.is_alive())
        time.sleep(moments.uniform(0, 0.3))
        process.kill()
        process.join()
        deaths += process.exitcode == -signal.SIGKILL
        for path in snapshots_of(killed).values():
            torch.load(path, weights_only=True)  # each is whole
    assert deaths >= 3  # the machine was not so fast that nothing was interrupted
    ended(start(killed))
    expected, found = snapshots_of(undisturbed), snapshots_of(killed)
    assert found.keys() == expected.keys() and "snapshot-040.pt" in found
    for name, path in expected.items():
        weights, others = training_runs.weights_of(path), training_runs.weights_of(found[name])
        assert all(torch.equal(others[key], weights[key]) for key in weights), name
    assert table_of(killed) == table_of(undisturbed)
    assert not list((killed / "train").glob(".*"))


def test_two_processes_train_as_one_with_batches_twice_as_large(tmp_path):
    """Up to rounding, since gradients are summed in another order; the loss of location refinement
    is left out, which is a mean over as many cells as a process happens to see near keypoints."""
    single, double = (
        prepare(tmp_path / str(size), "CertainBackbone", 0.0, batch_size=size) for size in (4, 2)
    )
    ended(start(single))
    port = str(20000 + random.randrange(20000))
    shared = {"WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
    for rank in [start(double, **shared, RANK=n, LOCAL_RANK=n) for n in "01"]:
        ended(rank)
    expected, found = snapshots_of(single), snapshots_of(double)
    assert found.keys() == expected.keys()
    for name in expected:
        weights, others = (training_runs.weights_of(one[name]) for one in (expected, found))
        for key in weights:
            torch.testing.assert_close(others[key], weights[key], atol=1e-5, rtol=1e-4)
    for row, other in zip(table_of(double), table_of(single), strict=True):
        assert row.keys() == other.keys()
        for name in row:
            if "locref" not in name:
                values = float(row[name] or "nan"), float(other[name] or "nan")
                assert values[0] == pytest.approx(values[1], rel=1e-4, nan_ok=True), name
    states = [torch.load(double / f"rank{rank}.pt", weights_only=True) for rank in (0, 1)]
    for key in states[0]:
        assert torch.equal(states[0][key], states[1][key]), key


def _wait_until(happened):
    end = time.monotonic() + 60
    while not happened() and time.monotonic() < end:
        time.sleep(0.01)
