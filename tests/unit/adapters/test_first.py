"""Who is a prospect that no record system knows yet."""

import pytest

from hub.adapters.first import is_unnumbered_prospect

HUB = {"assigner": "HUB", "value": "01a2"}
HOSP = {"assigner": "HOSP", "value": "100"}


@pytest.mark.parametrize(
    ("resource", "expected"),
    [
        ({"prospect": True}, True),
        ({"prospect": True, "identifier": [HUB]}, True),
        ({"prospect": True, "identifier": [HUB, HOSP]}, False),
        ({"identifier": [HOSP]}, False),
        ({}, False),
    ],
)
def test_a_prospect_without_a_number_of_another_system(resource: dict[str, object], expected: bool) -> None:
    assert is_unnumbered_prospect(resource) is expected
