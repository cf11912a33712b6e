"""pytest's side of the suite: each test runs for every case of the module that took it over (its CASES).

case, fault   from CASES: one Case; and every fault that shows at a plain connection
peer          the case's peer, listening
authority     a certificate authority of this run
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from hub.simulator.certificates import Authority
from hub.simulator.faults import Fault
from hub.testing.case import Case
from hub.testing.inbound_case import PolledCase

pytest.register_assert_rewrite("hub.testing.outbound", "hub.testing.polled", "hub.testing.listened")

__all__ = ["authority", "peer", "pytest_generate_tests"]


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    cases: list[Any] = getattr(metafunc.module, "CASES", [])
    if {"case", "fault"} <= set(metafunc.fixturenames):
        pairs = [(case, fault) for case in cases for fault in case.faults if fault is not Fault.TLS_WRONG]
        metafunc.parametrize(("case", "fault"), pairs, ids=[f"{case.name}-{fault}" for case, fault in pairs])
    elif "case" in metafunc.fixturenames:
        metafunc.parametrize("case", cases, ids=[case.name for case in cases])


@pytest.fixture(scope="session")
def authority() -> Authority:
    return Authority()


@pytest.fixture
def peer(case: Case | PolledCase) -> Iterator[Any]:
    one = case.peer(None)
    one.start()
    one.delay = case.timeout * 3
    yield one
    one.stop()
