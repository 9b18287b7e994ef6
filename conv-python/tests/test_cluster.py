"""Two worker processes: bounded memory, from Zarr to Zarr, and a worker that is killed."""

from __future__ import annotations

import os
import signal
import threading
import time
from pathlib import Path
from typing import Any

import dask
import dask.array as da
import numpy as np
import pytest

import convc

distributed = pytest.importorskip("distributed")
zarr = pytest.importorskip("zarr")

SHAPE, CHUNKS = (96, 160, 160), (48, 40, 40)


def resident() -> int:
    """Bytes that this process has had at most."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmHWM"):
            return int(line.split()[1]) << 10
    return 0


@pytest.fixture(scope="module")
def client() -> Any:
    with dask.config.set({"distributed.worker.daemon": False}):
        cluster = distributed.LocalCluster(
            n_workers=2, threads_per_worker=1, memory_limit="512MB", dashboard_address=None
        )
        with cluster, distributed.Client(cluster) as client:
            yield client


@pytest.fixture
def volume(tmp_path: Path) -> tuple[Path, Any]:
    x = np.random.default_rng(1).random(SHAPE).astype("f4")
    da.from_array(x, chunks=CHUNKS).to_zarr(tmp_path / "in.zarr")
    return tmp_path, x


def test_from_zarr_to_zarr(client: Any, volume: tuple[Path, Any]) -> None:
    folder, x = volume
    smooth = convc.gaussian_filter(da.from_zarr(folder / "in.zarr"), sigma=2.0, mode="mirror")
    smooth.to_zarr(folder / "out.zarr")
    whole = convc.gaussian_filter(x, sigma=2.0, mode="mirror")
    np.testing.assert_array_equal(zarr.open_array(folder / "out.zarr")[:], whole)
    if os.path.exists("/proc/self/status"):
        assert max(client.run(resident).values()) < 512 << 20


def slowly(block: Any) -> Any:
    time.sleep(0.1)
    return block


def test_blocks_of_a_killed_worker_are_made_again(client: Any, volume: tuple[Path, Any]) -> None:
    folder, x = volume
    slow = da.from_zarr(folder / "in.zarr").map_blocks(slowly, dtype="f4")
    window = np.random.default_rng(2).random((5, 3, 3))
    future = client.compute(convc.correlate(slow, window))
    victim = next(iter(client.run(os.getpid).values()))
    threading.Timer(1.0, os.kill, (victim, signal.SIGKILL)).start()
    result = future.result(timeout=120)
    assert victim not in client.run(os.getpid).values()
    np.testing.assert_array_equal(result, convc.correlate(x, window))
