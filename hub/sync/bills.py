"""Of what is said of a bill's status, what counts: a bill is told in parts, and by doors that know less than others.

Why: docs/adr/0154. Pure.
"""

from __future__ import annotations

from hub.sync.workspace import Source

STATUS = "status"
LINE = ":accounting|"  # in the key of a line of a customer's account (hub/mapping/sap_values.py)
EVENT = "event"  # where a value comes from that no column of a row says (hub/mapping/row_source.py)


def speaking(sources: list[Source]) -> list[Source]:
    """The records whose status competes.

    An invoice in instalments has several lines: while one is open, that others are cleared does not balance it. And "issued"
    that no column says is only what a bill is until somebody knows more: told late, it reopens nothing.
    """
    is_open = any(_is_line(one) and one.data.get(STATUS) == "issued" for one in sources)
    found = [one for one in sources if not (is_open and _is_line(one) and one.data.get(STATUS) == "balanced")]
    return [one for one in found if STATUS in one.data and not _is_assumed(one)] or found


def _is_line(source: Source) -> bool:
    return LINE in source.key


def _is_assumed(source: Source) -> bool:
    return (source.data[STATUS], source.lineage.get(STATUS, [""])[0]) == ("issued", EVENT)
