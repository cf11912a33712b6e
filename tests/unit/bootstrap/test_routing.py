"""[[routes]]: who gets what, and the line and remedy of each route that could never do what it says."""

from __future__ import annotations

from pathlib import Path

import pytest

from hub.bootstrap import channels, routing
from hub.cli import checks
from hub.config import Config, ConfigError, parse

CHANNELS = """\
[channels.ocs-in]
adapter = "ocs.hl7_in"
system = "ocs"
port = 2575
[channels.ocs-out]
adapter = "ocs.hl7_out"
system = "ocs"
host = "127.0.0.1"
port = 2576
[channels.emr]
adapter = "emr.fhir_patient"
system = "emr"
url = "http://127.0.0.1:9/fhir"
identifier_systems = { HOSP = "urn:oid:1.2.3" }
events = ["patient.updated"]
[channels.crm]
adapter = "crm.webhook"
system = "crm"
url = "http://127.0.0.1:9/hook"
secrets = [{ env = "TEST_SECRET" }]
"""
FIRST = CHANNELS.count("\n") + 1  # the line of the first [[routes]]


@pytest.fixture(autouse=True)
def _secret(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TEST_SECRET", "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")


def config(routes: str = "") -> Config:
    return parse(CHANNELS + routes, Path("/nowhere/hub.toml"))


def table(routes: str = "") -> dict[str, list[str]]:
    return {route.channel: routing.shown(route) for route in channels.routes(config(routes))[0]}


def test_without_routes_each_channel_has_what_its_events_say() -> None:
    assert table() == {
        "ocs-out": ["patient.updated, appointment.created, appointment.updated, appointment.cancelled from every other system"],
        "emr": ["patient.updated from every other system"],
        "crm": ["* from every system"],
    }


def test_a_channel_that_routes_name_has_what_they_say_and_the_others_keep_theirs() -> None:
    read = table(
        """[[routes]]
to = ["emr", "ocs-out"]
events = ["patient.*"]
fields = ["telecom.mobile", "address"]
from_systems = ["ocs", "crm"]
[[routes]]
to = ["ocs-out"]
kinds = ["Appointment"]
departments = ["OB*"]
"""
    )
    assert read == {
        "ocs-out": [
            "patient.* where address or telecom.mobile changed from crm, ocs",
            "patient.updated, appointment.created, appointment.updated, appointment.cancelled "
            "of kind Appointment in department OB* from every other system",
        ],
        "emr": ["patient.* where address or telecom.mobile changed from crm, ocs"],
        "crm": ["* from every system"],
    }


def test_hub_check_shows_the_table() -> None:
    routes = '[[routes]]\nto = ["crm"]\nkinds = ["Encounter"]\nwards = ["5W*"]\n'
    found = {f.what: f for f in checks.offline(config(routes)) if f.what.startswith("route")}
    assert found["route crm"].text == "* of kind Encounter in ward 5W* from every system"
    assert len(found) == 3
    (bad,) = [f for f in checks.offline(config('[[routes]]\nto = ["ocs-in"]\n')) if f.what == "routes"]
    assert not bad.good


MISTAKES = [
    ('to = ["ocs-in"]', 1, "sends nothing", "outbound"),
    ('to = ["emr"]\nkinds = ["Patinet"]', 2, 'no kind "Patinet"', 'did you mean "Patient"?'),
    ('to = ["emr"]\nevents = ["appointment.*"]', 2, '"emr" does not carry "appointment.*"', "it carries patient.updated"),
    ('to = ["crm"]\nevents = ["patiant.*"]', 2, "no kind has such changes", "patient.*"),
    ('to = ["emr"]\nkinds = ["Encounter"]', 2, "carries no change of these", "patient.updated"),
    ('to = ["emr"]\nevents = ["patient.updated"]\nfields = ["adress"]', 3, 'Patient has no field "adress"', '"address"'),
    ('to = ["emr"]\nkinds = ["Patient"]\nfields = ["name.text"]', 3, 'has no field "name.text"', '"name"'),
    ('to = ["emr"]\nkinds = ["Patient"]\ndepartments = ["OB"]', 3, "Patient has no department", "Encounter"),
    ('to = ["crm"]\nkinds = ["Patient"]\nwards = ["5W"]', 3, "Patient has no location", "Encounter"),
    ('to = ["emr"]\nfrom_systems = ["osc"]', 2, 'no channel has the system "osc"', '"ocs"'),
    ('to = ["emr"]\nfrom_systems = ["emr"]', 2, "no system hears its own word", "other systems"),
]


@pytest.mark.parametrize(("text", "line", "problem", "instead"), MISTAKES, ids=[m[2] for m in MISTAKES])
def test_a_route_that_can_do_nothing_is_told_with_line_and_remedy(text: str, line: int, problem: str, instead: str) -> None:
    with pytest.raises(ConfigError) as caught:
        channels.check_all(config(f"[[routes]]\n{text}\n"))
    assert caught.value.line == FIRST + line
    assert problem in caught.value.problem
    assert instead in caught.value.instead
