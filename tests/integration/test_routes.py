"""[[routes]] in a whole hub: what goes where, after a reload, on both databases."""

from hub.config import load
from tests.hub_kit import Kit, adt, pv1

ROUTES = """
[[routes]]
to = ["ocs-out"]
events = ["patient.updated"]
fields = ["telecom.mobile"]
from_systems = ["emr"]

[[routes]]
to = ["crm"]
kinds = ["Encounter"]
departments = ["IM"]
wards = ["ER"]
"""


def adopt(kit: Kit, routes: str) -> None:
    file = kit.hub.config.path
    file.write_text(file.read_text(encoding="utf-8") + routes, encoding="utf-8")
    kit.hub.reload(load(file))
    for name, channel in kit.hub.targets().items():
        channel.target = kit.recorders[name]


def test_each_destination_gets_what_its_routes_say(kit: Kit) -> None:
    kit.tell(adt("A08", "100", phone="010-1111-0000"))
    assert kit.target().types() == ["patient.created"]  # no route yet: all of it
    adopt(kit, ROUTES)
    kit.tell(adt("A08", "100", phone="010-2222-0000", at="20261122090100"), channel="emr-in")
    kit.tell(adt("A08", "100", phone="010-2222-0000", sex="F", at="20261122090200"))  # another field, and the OCS's own word
    kit.tell(adt("A04", "100", pv1("V1", department="OPD"), phone="010-2222-0000", sex="F", at="20261122090300"))
    kit.tell(adt("A04", "100", pv1("V2", department="ER"), phone="010-2222-0000", sex="F", at="20261122090400"))
    assert [(m.type, "telecom.mobile" in m.changed) for m in kit.target("ocs-out").sent] == [("patient.updated", True)]
    assert kit.target().types() == ["patient.created", "encounter.created"]
    assert kit.owned("100", "Encounter")[1]["location"] == "ER 101"
