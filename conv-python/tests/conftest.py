"""How many random calls there are: ``CONVC_CASES=2000 pytest`` for as many as are promised."""

import os

import pytest


@pytest.fixture(scope="session")
def cases() -> int:
    return int(os.environ.get("CONVC_CASES", "250"))
