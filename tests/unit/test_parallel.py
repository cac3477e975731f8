from __future__ import annotations

import os

import pytest

from dlc_deploy.runtime import parallel
from dlc_deploy.runtime.parallel import Parallelism, available_cores


@pytest.fixture
def cores(monkeypatch):
    def give(count):
        monkeypatch.setattr(parallel, "available_cores", lambda: count)

    return give


@pytest.mark.parametrize(
    ("count", "workers", "threads"), [(1, 1, 1), (2, 2, 1), (6, 6, 1), (8, 8, 1), (32, 8, 4)]
)
def test_videos_on_a_cpu_get_a_batch_of_two_frames_for_each_core(cores, count, workers, threads):
    cores(count)
    assert Parallelism.for_throughput("cpu") == Parallelism(workers, threads, batch=2)


@pytest.mark.parametrize("count", [1, 2, 3, 7, 9, 15, 24, 64, 255])
def test_no_more_threads_run_than_there_are_cores(cores, count):
    cores(count)
    for plan in (Parallelism.for_throughput("cpu"), Parallelism.for_latency()):
        assert 1 <= plan.workers * plan.threads <= count


@pytest.mark.parametrize("device", ["cuda", "cuda:1"])
def test_videos_on_a_gpu_get_one_batch_of_eight_frames(cores, device):
    cores(16)
    assert Parallelism.for_throughput(device) == Parallelism(workers=1, threads=1, batch=8)


def test_one_frame_on_all_cores_answers_soonest(cores):
    cores(6)
    assert Parallelism.for_latency() == Parallelism(workers=1, threads=6, batch=1)


def test_only_the_cores_that_this_process_may_use_count(monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: {3, 5, 7}, raising=False)
    assert available_cores() == 3


def test_systems_without_affinity_count_their_cores(monkeypatch):
    monkeypatch.delattr(os, "sched_getaffinity", raising=False)
    monkeypatch.setattr(os, "cpu_count", lambda: 12)
    assert available_cores() == 12
    monkeypatch.setattr(os, "cpu_count", lambda: None)
    assert available_cores() == 1
