"""The examples in docstrings, and that every public function has one that says its arguments."""

from __future__ import annotations

import doctest
import inspect
import re
from pathlib import Path

import pytest

import convc
import convc.dask

MODULES = [
    convc,
    convc._compile,
    convc._zero_point,
    convc._filter,
    convc.ndimage,
    convc.signal,
    convc.functional,
    convc.pooling,
    convc._terms,
    convc.dask,
    convc._blocks,
]


@pytest.mark.parametrize("module", MODULES)
def test_examples(module: object) -> None:
    assert doctest.testmod(module).failed == 0


@pytest.mark.parametrize("name", [n for n in convc.__all__ if n[0] != "_"])
def test_every_argument_is_documented(name: str) -> None:
    thing = getattr(convc, name)
    assert (thing.__doc__ or "").strip()
    if inspect.isfunction(thing) and "rest is as for" not in thing.__doc__:
        for argument in inspect.signature(thing).parameters:
            assert argument in thing.__doc__, f"{name}: {argument} is not documented"


ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("page", ["docs/guide/python.md", "conv-python/README.md"])
def test_pages(page: str) -> None:
    """The Python of a page, one block after the other."""
    blocks = re.findall(r"```python\n(.*?)```", (ROOT / page).read_text(), re.DOTALL)
    assert blocks
    names: dict[str, object] = {}
    for block in blocks:
        exec(block, names)
