"""[[routes]] with from_channels: what they say, and the line and remedy of each that could never do what it says."""

from __future__ import annotations

from pathlib import Path

import pytest

from hub.bootstrap import channels, routing
from hub.cli import checks
from hub.config import Config, ConfigError, parse
from hub.domain.ports import Received
from hub.sync.passing import Passage, wanted
from hub.sync.polled import row_body

CHANNELS = """\
[channels.ocs-in]
adapter = "ocs.hl7_in"
system = "ocs"
port = 2575
[channels.rows]
adapter = "files.csv_in"
system = "ocs"
folder = "/nowhere"
event = "X"
[channels.emr]
adapter = "emr.fhir_patient"
system = "emr"
url = "http://127.0.0.1:9/fhir"
identifier_systems = { HOSP = "urn:oid:1.2.3" }
[channels.pacs]
adapter = "raw.mllp_out"
system = "pacs"
host = "127.0.0.1"
port = 2577
"""
ROUTE = '[[routes]]\nto = ["pacs"]\n'
FIRST = CHANNELS.count("\n") + 1


def config(routes: str = "") -> Config:
    return parse(CHANNELS + routes, Path("/nowhere/hub.toml"))


def test_what_goes_on_is_shown_and_no_change_goes_there() -> None:
    text = ROUTE + 'from_channels = ["ocs-in"]\nmessages = ["ORU"]\nsenders = ["LAB"]\nwhere = { "PV1-2" = ["I", "E"] }\n'
    changes, passages = channels.routes(config(text))
    assert [route.channel for route in changes] == ["emr"]
    assert [routing.shown_passage(p) for p in passages] == ["ORU as they came from ocs-in sent by LAB where PV1-2 is I or E"]


def test_a_channel_for_messages_that_nothing_reaches_is_warned_of() -> None:
    found = [f.text for f in checks._routes(config()) if f.what == "channel pacs"]
    assert found == ['warning: nothing goes there: write [[routes]] with from_channels and to = ["pacs"]']
    assert not [f for f in checks._routes(config(ROUTE + 'from_channels = ["ocs-in"]\n')) if f.what == "channel pacs"]


@pytest.mark.parametrize(
    ("route", "line", "text"),
    [
        (ROUTE, 1, '"pacs" carries messages as they came; write from_channels'),
        (ROUTE + 'messages = ["ORU"]\n', 2, "it filters messages and does not say whose; write from_channels"),
        (ROUTE + 'from_channels = ["lab-in"]\n', 2, 'there is no inbound channel "lab-in"'),
        (ROUTE + 'from_channels = ["emr"]\n', 2, 'there is no inbound channel "emr"'),
        (ROUTE + 'from_channels = ["ocs-in"]\nkinds = ["Patient"]\n', 3, '"kinds" looks at changes'),
        (ROUTE + 'from_channels = ["ocs-in"]\nwhere = { "PV1.2" = ["I"] }\n', 3, '"PV1.2" is no field; write one like "PV1-2"'),
        (
            '[[routes]]\nto = ["emr"]\nfrom_channels = ["ocs-in"]\n',
            1,
            "carries changes; name a channel like raw.mllp_out",
        ),
    ],
)
def test_what_can_never_be_is_told_with_its_line(route: str, line: int, text: str) -> None:
    with pytest.raises(ConfigError) as caught:
        channels.routes(config(route))
    assert text in str(caught.value)
    assert caught.value.line == FIRST + line


def test_columns_of_rows_are_no_fields() -> None:
    assert channels.routes(config(ROUTE + 'from_channels = ["rows"]\nwhere = { "진료과" = ["내과"] }\n'))[1]


MESSAGE = (
    "MSH|^~\\&|RIS|HOSP|HUB|HOSP|20261122||ORU^R01^ORU_R01|1|P|2.5|||||KOR|UNICODE UTF-8\rPID|1||100\r"
    f"PV1|1|I|5W^501^02\rOBR|1{'|' * 23}RAD\rOBR|2{'|' * 23}LAB~MB\rNTE|1||뷁\\T\\길동\r"
)
FILTERS = [
    ({}, True),
    ({"from_channels": frozenset({"other"})}, False),
    ({"messages": ("ORU^R01",)}, True),
    ({"messages": ("ORU",)}, True),
    ({"messages": ("ADT", "OR?^*")}, True),
    ({"messages": ("ORU^R02", "ADT")}, False),
    ({"senders": ("RIS",)}, True),
    ({"senders": ("RIS|HOSP",)}, True),
    ({"senders": ("LAB", "RIS|OTHER")}, False),
    ({"where": {"PV1-2": ("I", "E")}}, True),
    ({"where": {"PV1-2": ("O",)}}, False),
    ({"where": {"PV1-3": ("5W",)}}, True),
    ({"where": {"PV1-3.2": ("50*",)}}, True),
    ({"where": {"OBR-24": ("LAB",)}}, True),  # in any segment of that name
    ({"where": {"OBR-24": ("MB",)}}, True),  # in any repetition
    ({"where": {"NTE-3": ("뷁&길동",)}}, True),  # escapes resolved
    ({"where": {"PV1-19": ("",)}}, True),  # empty
    ({"where": {"ZZZ-1": ("",)}}, True),  # not there
    ({"where": {"PV1-2": ("I",), "OBR-24": ("XX",)}}, False),  # all must agree
]


@pytest.mark.parametrize(("filters", "taken"), FILTERS, ids=[str(f) for f, _ in FILTERS])
def test_filters_of_messages(filters: dict[str, object], taken: bool) -> None:
    passage = Passage("pacs", **{"from_channels": frozenset({"in"}), **filters})  # type: ignore[arg-type]
    one = Received("in", MESSAGE.encode(), "RIS|HOSP", "1", "ORU^R01", None, charset="utf-8")
    assert wanted([passage], one) == (["pacs"] if taken else [])
    assert wanted([passage, passage], one) == (["pacs"] if taken else [])  # two routes, one message


def test_filters_of_rows_and_of_what_cannot_be_read() -> None:
    passage = Passage("pacs", frozenset({"in"}), where={"DEPT": ("내과",), "N": ("1",), "GONE": ("",)})
    row = Received("in", row_body("X", {"DEPT": "내과", "N": 1, "GONE": None}), "", "1", "X", None)
    assert wanted([passage], row) == ["pacs"]
    row.body = row_body("X", {"DEPT": "외과", "N": 1})
    assert wanted([passage], row) == []
    assert wanted([Passage("pacs", frozenset({"in"}), where={"PV1-2": ("I",)})], Received("in", b"\xff", "", "", "", None)) == []
    refused = Received("in", MESSAGE.encode(), "", "", "", None, refused="no")
    assert wanted([Passage("pacs", frozenset({"in"}))], refused) == []
