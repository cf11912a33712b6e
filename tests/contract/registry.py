"""The registry: every `*_case.py` in this folder adds its adapters, and every test of the suite runs for each of them."""

from __future__ import annotations

import importlib
from pathlib import Path

from hub.testing.case import Case

CASES: list[Case] = [
    case
    for file in sorted(Path(__file__).parent.glob("*_case.py"))
    for case in importlib.import_module(f"tests.contract.{file.stem}").CASES
]
