"""A small dose of what tests/integration/test_sap_fuzz.py gives by the ten thousand: nothing crashes, nothing hangs."""

from __future__ import annotations

from pathlib import Path

from tests import sap_fuzz_kit
from tests.unit.sap.test_edmx import XML


def test_entities_that_nobody_would_send() -> None:
    ends = sap_fuzz_kit.entities(300, seed=1)
    assert ends.total() == 300
    assert ends["mapped"] > 100  # else it would be noise that is refused at the door


def test_descriptions_that_nobody_would_give(tmp_path: Path) -> None:
    (tmp_path / "canary").write_text("canary-6f1c")
    ends = sap_fuzz_kit.descriptions(300, 1, XML, tmp_path / "canary")
    assert ends.total() == 300
    assert ends["compared"] > 10
    assert not ends["told"]
    assert ends["forbidden_xml"] > 10
