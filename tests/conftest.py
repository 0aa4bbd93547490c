"""What all tests share.

In: pytest's command line. Out: fixtures and settings for every test.
"""

import os
from pathlib import Path

import pytest
from hypothesis import settings

ROOT = Path(__file__).parents[1]

settings.register_profile("dstc", deadline=None, derandomize=True, print_blob=True)
settings.register_profile("thorough", deadline=None, max_examples=2000)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "dstc"))


@pytest.fixture(scope="session")
def root() -> Path:
    """The top of the repository."""
    return ROOT
