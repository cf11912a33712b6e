"""No two orders have one accession number because of what the hub calls them."""

from __future__ import annotations

from typing import Any

from hub.adapters.pacs.order_numbers import order_numbers
from hub.domain.ids import new_id
from hub.domain.imaging import accession_key, accession_of


def order(**numbers: str) -> dict[str, Any]:
    found = [{"type": type_, "assigner": "HOSP", "value": value} for type_, value in numbers.items()]
    return {"category": "imaging", "identifier": found}


def test_a_placers_a_fillers_and_an_accession_number_that_are_equal_are_three() -> None:
    three = [order(PLAC="4711", FILL="100"), order(PLAC="100"), order(ACSN="100")]
    found = [order_numbers(one, new_id()).accession for one in three]
    assert len(set(found)) == 3
    assert found[2] == "100"


def test_what_is_given_fits_sh_and_is_known_as_the_hubs_whoever_tells_it() -> None:
    made = [order_numbers(order(PLAC="1"), new_id()) for _ in range(2000)]  # many a millisecond: ids that begin alike
    assert len({one.accession for one in made}) == 2000
    assert {len(one.accession) for one in made} == {16}
    assert {accession_key(who, one.accession).assigner for one in made for who in ("HOSP", "PACS")} == {accession_of("HUB")}


def test_a_hospitals_number_stays_its_own() -> None:
    for number in ("100", "8000000000000001", "ACCESSIONNUMBER1", "H123456789012345", "HABCDEFGHIJKLMN"):
        assert accession_key("HOSP", number) == ("HOSP:accession", number)


def test_procedure_and_step_are_as_they_were_ordered() -> None:
    told = order(ACSN="100") | {"requestedProcedure": "RP1001", "scheduledStep": "SPS1001"}
    assert order_numbers(told, new_id())[2:] == ("RP1001", "SPS1001")
    assert order_numbers(order(ACSN="100"), new_id())[2:] == ("100", "100")
    too_long = order(ACSN="100") | {"requestedProcedure": "R" * 17}
    assert order_numbers(too_long, new_id()).procedure == "100"
