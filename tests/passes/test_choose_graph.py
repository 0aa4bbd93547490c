"""Products that are chosen together: who writes whose operand encoded."""

import pytest
from dstc.dialects.dstc import Engine
from dstc.passes.choose import Candidate, Choice
from dstc.passes.choose_graph import Node, settle
from dstc.passes.cost import ScheduledProduct
from dstc.passes.cost_chip import Prediction
from dstc.passes.plain_schedule import Schedule

LAUNCH = 40.0


def candidate(engine: Engine, cycles: float, measured: int | None = None) -> Candidate:
    schedule = Schedule(engine, (64, 64), (32, 32), 2, False, 1, 32)
    product = ScheduledProduct((64, 64, 64), schedule)
    return Candidate(product, Prediction(cycles, {"tensor": cycles}), measured=measured)


def choice(**cycles: float) -> Choice:
    found = [candidate(Engine(name), c) for name, c in cycles.items()]
    return Choice(tuple(sorted(found, key=lambda c: c.cycles)))


def taken(nodes: list[Node]) -> list[str]:
    return [str(choice.best.engine) for choice in settle(nodes)]


def test_a_product_alone_keeps_its_choice() -> None:
    assert taken([Node(choice(dense=100, dual=90))]) == ["dual"]


@pytest.mark.parametrize(
    ("write", "engines", "encoding"),
    [
        ({Engine.DENSE: 5.0}, ["dense", "dual"], 5.0),
        ({Engine.DUAL: 5.0}, ["dual", "dual"], 5.0),
        ({Engine.DENSE: 35.0}, ["dual", "dense"], 0.0),
        ({}, ["dual", "dense"], 0.0),
    ],
)
def test_a_slower_product_that_writes_encoded_may_win(
    write: dict[Engine, float], engines: list[str], encoding: float
) -> None:
    first = Node(choice(dense=100, dual=90))
    second = Node(
        choice(dense=80, dual=50), first, LAUNCH, lambda before, own: write.get(before.engine)
    )
    nodes = [first, second]
    found = settle(nodes)
    assert [c.best.engine for c in found] == engines
    assert found[1].best.encoding == encoding


def test_what_was_measured_stays_in_front() -> None:
    measured = Choice((candidate(Engine.DUAL, 60, 95), candidate(Engine.DUAL, 70)))
    (found,) = settle([Node(measured)])
    assert [c.measured for c in found.candidates] == [95, None]
