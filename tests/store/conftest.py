"""A cell for each test, on the suite's server."""

import pytest
from redis.asyncio import Redis

from tests.store.cell import Cell


@pytest.fixture
def cell(redis: Redis) -> Cell:
    return Cell(redis)
