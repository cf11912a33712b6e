"""The pages of an entity set by key: SAP sorts numbers as it keeps them, padded; others sort texts. Both are read."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from hub.adapters.erp.odata_in_pages import Pages
from hub.adapters.erp.odata_in_sets import KNOWN
from hub.codecs.sap import odata
from hub.domain.errors import Misconfigured
from hub.simulator.http_peer import Request
from hub.simulator.sap_books import SapBooks

PARTNERS, LINES = "A_BusinessPartner", "A_OperationalAcctgDocItemCube"
TWO_LENGTHS = ["11", "202", "999999", "1000042", "17100001"]


class Given:
    """A server that gives these pages, whatever it is asked."""

    def __init__(self, *pages: list[dict[str, Any]]) -> None:
        self._pages = iter([*pages, []])

    def page(self, _name: str, _params: dict[str, str]) -> odata.Page:
        return odata.parse_page(orjson.dumps({"d": {"results": next(self._pages)}}))


class Asked:
    """The simulated SAP, asked without a wire."""

    def __init__(self, books: SapBooks) -> None:
        self._books = books

    def page(self, name: str, params: dict[str, str]) -> odata.Page:
        query = "&".join(f"{key}={value}".replace(" ", "%20") for key, value in params.items())
        answer = self._books.answer(Request("GET", f"/{name}?{query}", {}, b""))
        return odata.parse_page(answer.partition(b"\r\n\r\n")[2])


def partners(*numbers: str) -> list[dict[str, Any]]:
    return [{"BusinessPartner": number} for number in numbers]


def walked(sap: Any, name: str = PARTNERS, size: int = 2) -> list[list[str]]:
    pages = Pages(sap, name, KNOWN[name], size).walk("")
    return [["/".join(str(one[part]) for part in KNOWN[name].key) for one in page] for page in pages]


def test_numbers_of_two_lengths_as_sap_sorts_them() -> None:
    books = SapBooks()
    for at, number in enumerate(sorted(TWO_LENGTHS)):
        books.know(f"{at:08}", number)
    assert walked(Asked(books)) == [["11", "202"], ["999999", "1000042"], ["17100001"]]


@pytest.mark.parametrize("order", [TWO_LENGTHS, sorted(TWO_LENGTHS)], ids=["as numbers", "as texts"])
def test_either_order_is_one_to_go_on_by(order: list[str]) -> None:
    pages = [order[:2], order[2:4], order[4:]]
    assert walked(Given(*(partners(*page) for page in pages))) == pages


@pytest.mark.parametrize(
    "pages",
    [[["202", "11"]], [["11", "202"], ["100", "999999"]], [["11", "1000042", "202", "999999", "20"]], [["9", "10", "100", "11"]]],
    ids=["backwards", "a page before the last one", "no order", "first the one, then the other"],
)
def test_who_does_not_sort_is_told(pages: list[list[str]]) -> None:
    with pytest.raises(Misconfigured) as caught:
        walked(Given(*(partners(*page) for page in pages)))
    assert caught.value.code == "no_sort"


def test_each_part_of_a_key_has_its_own_order() -> None:
    keys = [
        ("1000", "2025", "900", "1"),
        ("1000", "2025", "1800", "1"),
        ("1000", "2025", "1800", "10"),
        ("1000", "2025", "1800", "2"),
    ]
    names = KNOWN[LINES].key
    assert len(walked(Given([dict(zip(names, key, strict=True)) for key in keys]), LINES, 9)[0]) == 4


def test_letters_a_server_sorts_its_own_way() -> None:
    assert walked(Given(partners("ß1", "A1"), partners("11"))) == [["ß1", "A1"], ["11"]]
