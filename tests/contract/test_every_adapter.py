"""No adapter without its contract: each one has a case of the suite, or its own tests of the same promises, named here."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from hub.bootstrap.kinds import manifests
from tests.contract.asking_cases import ASKING
from tests.contract.erp_in_cases import CASE as ERP_IN
from tests.contract.inbound_cases import LISTENED, POLLED
from tests.contract.pacs_cases import ASKING as PACS
from tests.contract.registry import CASES

ROOT = Path(__file__).parents[2]
# What no case of the suite fits, and where its promises are tested
ELSEWHERE = {
    "erp.idoc_http_in": "tests/integration/test_idoc_http_in.py",  # a door, too
    "emr.fhir_in": "tests/integration/test_fhir_in.py",  # a door of the hub's own web server: no port of the channel's
    "ocs.hl7_query": "tests/integration/test_look_ups.py",  # answers questions and stores no message
    "pacs.hl7_in": "tests/contract/test_pacs_hl7.py",  # the listener of ocs.hl7_in by another name
    "pacs.dicomweb_in": "tests/integration/test_stow.py",  # a door of the hub's own web server, too
    "pacs.worklist": "tests/integration/test_worklist.py",  # answers questions and stores no message
    "emr.fhir_pull": "tests/contract/test_fhir_pull_suite.py",  # the same suite, with a second peer of its own
}


def test_every_adapter_has_its_cases() -> None:
    shipped, broken = manifests()
    assert broken == {}
    every: list[Any] = [*CASES, *LISTENED, *POLLED, *ASKING, *PACS, ERP_IN]
    cased = {case.module.MANIFEST.name for case in every}
    names = {manifest.name for manifest in shipped}
    assert names - cased - ELSEWHERE.keys() == set(), "write a case: docs/adapters.md, The contract"
    assert ELSEWHERE.keys() <= names
    assert ELSEWHERE.keys().isdisjoint(cased)


def test_what_stands_elsewhere_is_there_and_speaks_of_it() -> None:
    for name, file in ELSEWHERE.items():
        text = (ROOT / file).read_text(encoding="utf-8")
        assert name.rpartition(".")[2] in file + text
        assert "def test_" in text or "import *" in text


def test_each_direction_has_its_own_suite() -> None:
    """A case of the wrong suite would prove nothing of the other direction's promises."""
    for case in CASES:
        assert case.module.MANIFEST.direction == "out"
    for listened in LISTENED:
        assert (listened.module.MANIFEST.direction, listened.module.MANIFEST.polled) == ("in", False)
    for polled in (*POLLED, *ASKING, *PACS, ERP_IN):
        assert (polled.module.MANIFEST.direction, polled.module.MANIFEST.polled) == ("in", True)
