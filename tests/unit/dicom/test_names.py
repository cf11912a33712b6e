"""Who may speak to whom: AE titles, each with where it may call from; and what the page for hospital IT says of it."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from hub.adapters.pacs import dicom_in
from hub.codecs.dicom.pdu import CALLED_UNKNOWN, CALLING_UNKNOWN, Rejection
from hub.transport.dicom_scp import Names

PAGE = Path(__file__).parents[3] / "docs" / "pacs-dicom.md"
NAMES = Names("HUB", {"CT1": "10.1.3.11", "MR": "10.1.3.0/24, 10.2.0.7", "ANY": "", "V6": "2001:db8::/32"})


@pytest.mark.parametrize(
    ("called", "calling", "address", "refusal"),
    [
        ("HUB", "CT1", "10.1.3.11", None),
        ("HUB", "CT1", "10.1.3.12", CALLING_UNKNOWN),
        ("HUB", "CT1", "::ffff:10.1.3.11", None),
        ("HUB", "MR", "10.1.3.200", None),
        ("HUB", "MR", "10.2.0.7", None),
        ("HUB", "MR", "10.2.0.8", CALLING_UNKNOWN),
        ("HUB", "MR", "unknown", CALLING_UNKNOWN),
        ("HUB", "ANY", "192.0.2.1", None),
        ("HUB", "V6", "2001:db8::1", None),
        ("HUB", "V6", "10.1.3.11", CALLING_UNKNOWN),
        ("HUB", "ct1", "10.1.3.11", CALLING_UNKNOWN),
        ("HUB", "", "10.1.3.11", CALLING_UNKNOWN),
        ("hub", "CT1", "10.1.3.11", CALLED_UNKNOWN),
    ],
)
def test_title_and_address(called: str, calling: str, address: str, refusal: Rejection | None) -> None:
    assert NAMES.refusal(called, calling, address) == refusal


def test_any_title_from_one_network() -> None:
    names = Names("HUB", {"*": "10.1.0.0/16", "CT1": "10.9.9.9"})
    assert names.refusal("HUB", "WHOEVER", "10.1.2.3") is None
    assert names.refusal("HUB", "WHOEVER", "10.9.9.9") == CALLING_UNKNOWN
    assert names.refusal("HUB", "CT1", "10.1.2.3") == CALLING_UNKNOWN  # the entry of its own counts


def test_the_page_names_every_setting_with_its_default() -> None:
    page = PAGE.read_text(encoding="utf-8")
    for field in dataclasses.fields(dicom_in.Settings):
        (row,) = [line for line in page.splitlines() if line.startswith("| ") and f"`{field.name}`" in line.split("|")[1]]
        if isinstance(field.default, int | float) and field.name != "port":
            assert f"| {field.default:g} |" in row or f"| {field.default} |" in row
        elif isinstance(field.default, str) and field.default:
            assert f'`"{field.default}"`' in row
