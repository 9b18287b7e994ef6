"""A volume in Zarr that no machine holds, filtered block by block by worker processes.

    python examples/python/volume.py --gigabytes 20 --folder /somewhere/with/space

The script makes a synthetic volume of float32, block by block, then smooths it from one Zarr array
to another: a progress bar, the seconds, GB an hour, and the most memory that each worker had. With
``--peer`` it does the same with dask-image's `ndfilters`, which calls SciPy. The volume holds
counts, as a detector's does, and with ``--counts`` the result does too: 20 GB are then about 6 on
disk.
"""

from __future__ import annotations

import argparse
import shutil
import time
from pathlib import Path
from typing import Any

import dask
import dask.array as da
import distributed
import numpy as np

import convc.dask

#: Elements of a block along each axis: 32 MB.
CHUNK = 200


def made(block_info: Any = None) -> Any:
    """A block of counts by its place: slow waves, and as noise how many of 64 coins show heads,
    which costs a quarter of a Gaussian's random numbers."""
    (place,) = (info["array-location"] for key, info in block_info.items() if key is None)
    z, y, x = (np.arange(start, stop, dtype="f4") for start, stop in place)
    random = np.random.default_rng([start for start, _ in place])
    coins = random.integers(1 << 64, size=[stop - start for start, stop in place], dtype="u8")
    counts = np.bitwise_count(coins).astype("f4")
    counts += 20 * (np.sin(z / 40)[:, None] + np.cos(y / 30))[:, :, None]
    counts += 68 + 20 * np.sin(x / 20)
    return np.rint(counts, out=counts)


def most_memory() -> int:
    """Bytes that this process had at most."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmHWM"):
            return int(line.split()[1]) << 10
    return 0


def stored(array: Any, path: Path) -> float:
    """Computes into a Zarr array; the seconds that it took."""
    start = time.perf_counter()
    (task,) = dask.persist(array.to_zarr(path, compute=False, overwrite=True))
    distributed.progress(task)
    distributed.wait(task)
    task.compute()
    print()
    return time.perf_counter() - start


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--gigabytes", type=float, default=1.0)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--memory", default="2GB", help="of each worker")
    parser.add_argument("--sigma", type=float, default=2.0)
    parser.add_argument("--window", type=int, help="a dense window instead of a Gaussian")
    parser.add_argument("--counts", action="store_true", help="store the result as uint8")
    parser.add_argument("--folder", type=Path, default=Path("."))
    parser.add_argument("--peer", action="store_true", help="dask-image as well")
    parser.add_argument("--keep", action="store_true", help="leave the arrays there")
    said = parser.parse_args()

    size = max(round((said.gigabytes * 1e9 / 4) ** (1 / 3)), 8)
    chunks = min(CHUNK, size)
    source, result = said.folder / "volume.zarr", said.folder / "smooth.zarr"
    cluster = distributed.LocalCluster(
        n_workers=said.workers,
        threads_per_worker=1,
        memory_limit=said.memory,
        dashboard_address=None,
    )
    with cluster, distributed.Client(cluster) as client:
        sizes = da.core.normalize_chunks(chunks, (size,) * 3)
        volume = da.map_blocks(made, chunks=sizes, dtype="f4", meta=np.empty((0, 0, 0), "f4"))
        print(f"{size}^3 of float32, {volume.nbytes / 1e9:.1f} GB, blocks of {chunks}^3: made")
        stored(volume, source)
        volume = da.from_zarr(source)
        window = np.random.default_rng(1).random((said.window,) * 3) if said.window else None

        def filtered(by: Any) -> Any:
            if window is None:
                made = by.gaussian_filter(volume, said.sigma)
            else:
                made = by.convolve(volume, window / window.sum())
            return made.round().astype("u1") if said.counts else made

        peers = [("convc", convc.dask)]
        if said.peer:
            from dask_image import ndfilters

            peers.append(("dask-image", ndfilters))
        for name, by in peers:
            seconds = stored(filtered(by), result)
            hour = volume.nbytes / 1e9 / seconds * 3600
            memory = [bytes_ / 1e9 for bytes_ in client.run(most_memory).values()]
            print(f"{name}: {seconds:.1f} s, {hour:.0f} GB/h from Zarr to Zarr")
            print(f"most memory of a worker so far: {', '.join(f'{m:.2f}' for m in memory)} GB")
    if not said.keep:
        for path in (source, result):
            shutil.rmtree(path)


if __name__ == "__main__":
    main()
