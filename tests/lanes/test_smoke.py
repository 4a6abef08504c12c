from tests.lanes.cell import Cell, keys_of, NUMBER
async def test_smoke(cell: Cell):
    await cell.queue("a","b","c")
    assert await cell.take() == [NUMBER]
    b = await cell.claim()
    print(b)
    assert keys_of(b.messages) == ["a","b","c"]
    assert await cell.settle(b.messages[0], "accepted") == "accepted"
    print(await cell.record("a"), await cell.record("b"), await cell.events(), await cell.gate())
    print(await cell.producing.look("b"))
    print(await cell.serving.tend("process-1"), await cell.sets_of("b"))
    assert 0
