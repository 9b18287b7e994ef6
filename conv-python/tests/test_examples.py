"""The scripts of ``examples/python`` run, and make what they say."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

EXAMPLES = Path(__file__).parents[2] / "examples" / "python"


def run(folder: Path, name: str, *args: str) -> str:
    words = [sys.executable, str(EXAMPLES / name), *args]
    done = subprocess.run(words, cwd=folder, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_edges(tmp_path: Path) -> None:
    run(tmp_path, "edges.py", "-o", "edges.png")
    picture = np.asarray(Image.open(tmp_path / "edges.png"))
    photo, sharp, edges = np.split(picture.astype("f8"), 3, axis=1)
    assert sharp.std() > photo.std() and edges.mean() < photo.mean()


def test_sky(tmp_path: Path) -> None:
    assert "the mean error is 0." in run(tmp_path, "sky.py", "-o", "sky.png")
    assert Image.open(tmp_path / "sky.png").size == (1280, 320)


def test_tensors(tmp_path: Path) -> None:
    pytest.importorskip("torch")
    assert "is a Tensor" in run(tmp_path, "tensors.py", "-o", "tensors.png")
    assert Image.open(tmp_path / "tensors.png").size == (1024, 512)


def test_volume(tmp_path: Path) -> None:
    said = run(tmp_path, "volume.py", "--gigabytes", "0.002", "--window", "3", "--peer")
    assert "convc: " in said and "dask-image: " in said
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("only", ["3x3 on 512x512", "sobel"])
def test_speed(tmp_path: Path, only: str) -> None:
    assert "one thread" in run(tmp_path, "speed.py", "--time", "0", "--only", only)
