"""The HTTP engine alone, called as the product calls it: no queue, no rate, nothing written down."""

import asyncio
import gc
import json
import time
from collections.abc import Callable

from dispatcher.message.message import Message, body
from dispatcher.meta.graph import Graph
from dispatcher.policy.outcome import Answer
from tests.bench.harness import NUMBER, TOKEN, message


def run(url: str, count: str, in_flight: str, prefix: str, wait: Callable[[], object]) -> None:
    """Post `count` messages, their keys with that prefix, once `wait` returns.

    Print when the last answer was there (monotonic, ns) and the processor seconds it took, all threads together.
    """
    import uvloop

    gc.collect()
    gc.freeze()
    gc.set_threshold(5_000, 20, 50)  # as a worker does
    print("ready", flush=True)
    wait()
    used_s = time.process_time()
    ended_ns = uvloop.run(_run(url, int(count), int(in_flight), prefix))
    print(json.dumps({"ended_ns": ended_ns, "cpu_s": time.process_time() - used_s}), flush=True)


async def _run(url: str, count: int, in_flight: int, prefix: str) -> int:
    graph = Graph(url=url, version="v25.0")
    places = iter(range(count))
    prepared = body(Message.parse(message("raw", 1, "bulk"), default_key=None))

    async def post_next() -> None:
        for place in places:
            tail = b',"biz_opaque_callback_data":"d1:1:%b-%d"}' % (prefix.encode(), place)
            reply = await graph.post(NUMBER, TOKEN, prepared + tail, deadline_s=15)
            if not isinstance(reply, Answer) or reply.status != 200:
                raise RuntimeError(f"the simulator answered {reply}")

    await asyncio.gather(*(post_next() for _ in range(in_flight)))
    ended_ns = time.monotonic_ns()
    await graph.aclose()
    return ended_ns
