"""Redis has done what it was asked, and nobody hears of it."""

from pathlib import Path

import pytest

from dispatcher.simulator import Simulator
from dispatcher.store.embedded import Server
from dispatcher.store.scripts import load
from tests.cell import cell, posted
from tests.proxy import Proxy
from tests.worker.conftest import SHORT


@pytest.mark.parametrize("name", ["take", "claim", "settle", "tend", "release"])
async def test_an_answer_that_is_swallowed_loses_and_doubles_nothing(
    server: Server, simulator: Simulator, tmp_path: Path, name: str
) -> None:
    simulator.set_latency(50)
    proxy = Proxy("127.0.0.1", server.port)
    # a take whose answer is lost is made again when the lease has ended
    given = {**SHORT, "redis_timeout_s": 0.5, "number_lease_s": 1.0}
    async with proxy.listening(), cell(proxy.url, tmp_path, simulator, **given) as opened:
        keys = [f"m{i}" for i in range(80)]
        await opened.send_all(keys, priority="bulk")
        app = await opened.work()
        for round_ in range(3):
            await posted(opened, 1 + 20 * round_)
            proxy.swallow(load(app.connection.cell, f"work/{name}"))
            if name == "release":
                await opened.end(app)
                app = await opened.work()
        await opened.all_become(keys, "accepted")
        report = opened.simulator.ledger.report()
        assert proxy.swallowed >= 1
        assert (report["requests"], report["accepted_once"]) == (80, 80)
        assert {(await opened.record(key)).attempts for key in keys} == {1}
