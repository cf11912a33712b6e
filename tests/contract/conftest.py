"""The registry: every `*_case.py` in this folder adds its adapters, and every test runs for each of them."""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from hub.simulator.certificates import Authority
from hub.simulator.faults import Fault
from tests.contract.case import Case

CASES: list[Case] = [
    case
    for file in sorted(Path(__file__).parent.glob("*_case.py"))
    for case in importlib.import_module(f"tests.contract.{file.stem}").CASES
]


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if {"case", "fault"} <= set(metafunc.fixturenames):
        pairs = [(case, fault) for case in CASES for fault in Fault if fault is not Fault.TLS_WRONG]
        metafunc.parametrize(("case", "fault"), pairs, ids=[f"{case.name}-{fault}" for case, fault in pairs])
    elif "case" in metafunc.fixturenames:
        metafunc.parametrize("case", CASES, ids=[case.name for case in CASES])


@pytest.fixture(scope="session")
def authority() -> Authority:
    return Authority()


@pytest.fixture
def peer(case: Case) -> Iterator[Any]:
    """The case's peer, listening."""
    one = case.peer(None)
    one.start()
    one.delay = case.timeout * 3
    yield one
    one.stop()
