"""Facts against what two other converters made of the same messages. Every difference stands, with its reason, in
docs/mapping-differences.md; the test fails where the table lacks one and where it lists one that is gone."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from hub.codecs.hl7v2 import Message, parse
from hub.domain.errors import Unmappable
from hub.domain.facts import ChangeIdentifier, Fact, Mapped, Merge, Snapshot
from hub.mapping import Context, load_maps
from hub.mapping.composites import as_cx
from hub.mapping.functions import Reader
from hub.mapping.keys import assigner_of
from hub.mapping.times import BadValue, iso_date, iso_time

ROOT = Path(__file__).resolve().parents[2]
CORPUS = Path(os.environ.get("HUB_CORPUS") or ROOT.parent / "shared" / "corpus")
TABLE = ROOT / "docs" / "mapping-differences.md"
GROUPS = ("pid", "cx", "hd", "xpn", "dtm", "xtn", "pl")
MAPS = load_maps()
CONTEXT = Context("TEST", "ocs", "UTC", 1)

pytestmark = [pytest.mark.corpus, pytest.mark.skipif(not CORPUS.is_dir(), reason="no corpus: set HUB_CORPUS")]


def resources(bundle: dict[str, Any], kind: str) -> list[dict[str, Any]]:
    return [entry["resource"] for entry in bundle["entry"] if entry["resource"]["resourceType"] == kind]


def digits(text: str) -> str:
    """The end of a number: what both sides agree on whatever they do with country codes and extensions."""
    return re.sub(r"\D", "", text)[-7:]


def instant(text: str | None) -> str | float | None:
    if text is None or "T" not in text:
        return text
    moment = datetime.fromisoformat(text)
    return moment.timestamp() if moment.tzinfo else text


def names(found: list[dict[str, Any]]) -> set[tuple[str, str]]:
    return {
        ((n.get("family") or "").casefold(), (n.get("given") or [""])[0].casefold())
        for n in found
        if n.get("family") or n.get("given")
    }


def addresses(found: list[dict[str, Any]]) -> set[tuple[str, ...]]:
    keys = ("city", "state", "postalCode", "country")
    return {places for a in found if any(places := tuple((a.get(k) or "").strip() for k in keys))}


def telecoms(found: list[dict[str, Any]]) -> set[str]:
    return {value for t in found if (value := digits(t.get("value") or "") or (t.get("value") or "").casefold())}


def person(found: dict[str, Any]) -> dict[str, Any]:
    return {
        "identifier": {i["value"] for i in found.get("identifier") or [] if "value" in i} - {"NONE"},
        "name": names(found.get("name") or []),
        "birthDate": (found.get("birthDate") or "")[:10],
        "gender": found.get("gender"),
        "deceased": instant(found.get("deceasedAt") or found.get("deceasedDateTime")),
        "address": addresses(found.get("address") or []),
        "telecom": telecoms(found.get("telecom") or []),
    }


def visit(found: dict[str, Any]) -> dict[str, Any]:
    period, kind = found.get("period") or {}, found.get("class")
    return {
        "visit number": {i["value"] for i in found.get("identifier") or [] if "value" in i},
        "class": kind.get("code") if isinstance(kind, dict) else kind,
        "start": instant(period.get("start")),
        "end": instant(period.get("end")),
    }


def booking(found: dict[str, Any]) -> dict[str, Any]:
    return {
        "booking number": {i["value"] for i in found.get("identifier") or [] if "value" in i},
        "status": found.get("status"),
        "start": instant(found.get("start")),
        "end": instant(found.get("end")),
        "minutes": found.get("minutes") or found.get("minutesDuration"),
    }


def unequal(kind: str, ours: dict[str, Any], theirs: dict[str, Any]) -> Iterator[tuple[str, Any, Any]]:
    for name, mine in ours.items():
        if (mine or None) != (theirs[name] or None):
            yield f"{kind} {name}", mine, theirs[name]


def relative(found: dict[str, Any]) -> dict[str, Any]:
    return {"name": names(found.get("name") or []), "telecom": telecoms(found.get("telecom") or [])}


def merged(mapped: Mapped) -> set[tuple[str, str]]:
    pairs = {(fact.survivor.value, fact.prior.value) for fact in mapped.facts if isinstance(fact, Merge)}
    return pairs | {(fact.new.value, fact.old.value) for fact in mapped.facts if isinstance(fact, ChangeIdentifier)}


def linked(bundle: dict[str, Any]) -> set[tuple[str, str]]:
    found = set()
    for linkage in resources(bundle, "Linkage"):
        ends = {item["type"]: item["resource"].get("identifier", {}).get("value", "") for item in linkage["item"]}
        found.add((ends.get("source", ""), ends.get("historical", "")))
    return found


def place(bundle: dict[str, Any]) -> str:
    """The names of room-like Locations, else of all, outermost first: what our one line holds."""
    outer, inner = [], []
    for location in resources(bundle, "Location"):
        codes = {coding.get("code") for coding in location.get("physicalType", {}).get("coding", [])}
        name = location.get("identifier", [{}])[0].get("value", "")
        (outer if codes & {"si", "bu", "lvl"} else inner).append(name)
    return " ".join(inner or outer)


FAMILIES = {  # MSH-9.1 -> what is compared of it beside the patient; PV1 makes no visit there (docs/adr/0073)
    "ORM": ("ServiceRequest", "Condition", "AllergyIntolerance"), "OMG": ("ServiceRequest", "Condition", "AllergyIntolerance"),
    "OML": ("ServiceRequest", "Condition", "AllergyIntolerance"), "ORU": ("DiagnosticReport", "Observation"),
    "OUL": ("DiagnosticReport", "Observation"),
    "RDE": ("MedicationRequest",), "RDS": ("MedicationRequest",), "MDM": ("DocumentReference",),
    "DFT": ("ChargeItem", "Condition", "Procedure"), "BAR": ("Account", "Condition", "Procedure", "AllergyIntolerance"),
    "REF": ("ServiceRequest", "Condition", "Procedure", "AllergyIntolerance"),
}  # fmt: skip


def codes(found: dict[str, Any]) -> set[str]:
    """What it is: the codes of a resource, theirs with all translations."""
    said = found.get("code") or found.get("type") or found.get("medicationCodeableConcept") or {}
    if isinstance(said, str):
        return set()
    return {code for coding in said.get("coding") or [said] if (code := coding.get("code"))}


def of_kind(mapped: Mapped, kind: str) -> list[dict[str, Any]]:
    lists = [item for fact in mapped.facts if isinstance(fact, Snapshot) and fact.kind == kind for item in fact.items]
    return lists + [fact.values for fact in mapped.facts if isinstance(fact, Fact) and fact.kind == kind]


def compare_family(mapped: Mapped, bundle: dict[str, Any], kinds: tuple[str, ...]) -> Iterator[tuple[str, Any, Any]]:
    """The patient, and of each kind how many there are and what they are."""
    for mine, other in zip(of_kind(mapped, "Patient"), resources(bundle, "Patient"), strict=True):
        yield from unequal("Patient", person(mine), person(other))
    for kind in kinds:
        ours, theirs = of_kind(mapped, kind), resources(bundle, kind)
        if len(ours) != len(theirs):
            yield f"{kind} count", len(ours), len(theirs)
        mine_codes, other_codes = {c for one in ours for c in codes(one)}, {c for one in theirs for c in codes(one)}
        if not mine_codes <= other_codes:
            yield f"{kind} code", mine_codes, other_codes


READERS: dict[str, Callable[[dict[str, Any]], dict[str, Any]]] = {"Patient": person, "Encounter": visit, "Appointment": booking}


def compare(mapped: Mapped, bundle: dict[str, Any]) -> Iterator[tuple[str, Any, Any]]:
    """(field, ours, theirs) for each field that differs; things are compared in the order in which they come."""
    for kind, read in READERS.items():
        ours = [fact.values for fact in mapped.facts if isinstance(fact, Fact) and fact.kind == kind]
        theirs = resources(bundle, kind)
        if len(ours) != len(theirs):
            yield f"{kind} count", len(ours), len(theirs)
        for mine, other in zip(ours, theirs, strict=False):
            yield from unequal(kind, read(mine), read(other))
    if merged(mapped) != linked(bundle):
        yield "merge", merged(mapped), linked(bundle)


def compare_datatypes(group: str, mapped: Mapped, bundle: dict[str, Any]) -> Iterator[tuple[str, Any, Any]]:
    ours = [fact.values for fact in mapped.facts if isinstance(fact, Fact) and fact.kind == "Patient"]
    for mine, other in zip(ours, resources(bundle, "Patient"), strict=True):
        yield from unequal("Patient", person(mine), person(other))
    items = [item for fact in mapped.facts if isinstance(fact, Snapshot) and fact.group == "nk1" for item in fact.items]
    relatives = [found for found in resources(bundle, "RelatedPerson") if found.get("name") or found.get("telecom")]
    for number in range(max(len(items), len(relatives))):
        mine, other = (relative(found[number]) if number < len(found) else relative({}) for found in (items, relatives))
        yield from unequal("RelatedPerson", mine, other)
    if group == "pl":
        visits = [fact.values for fact in mapped.facts if isinstance(fact, Fact) and fact.kind == "Encounter"]
        if visits[0].get("priorLocation") != place(bundle):
            yield "Encounter priorLocation", visits[0].get("priorLocation"), place(bundle)


def source_of(name: str) -> Path:
    return next((CORPUS / "hl7v2" / "ms-fhir-converter").rglob(name))


def converter_differences() -> Iterator[tuple[str, str, Any, Any]]:
    for expected in sorted((CORPUS / "pairs" / "ms-fhir-converter").glob("*-expected.json")):
        name = expected.name.removesuffix("-expected.json")
        family = name.partition("-")[0]
        if family not in ("ADT", "SIU", *FAMILIES):
            continue
        try:
            mapped = MAPS.map(parse(source_of(f"{name}.hl7").read_bytes()), CONTEXT)
        except Unmappable as error:
            yield name, "unmappable", str(error), ""
            continue
        bundle = json.loads(expected.read_text("utf-8-sig"))
        kinds = FAMILIES.get(family)
        for found in compare(mapped, bundle) if kinds is None else compare_family(mapped, bundle, kinds):
            yield name, *found


def as_update(message: Message) -> Message:
    """The pairs are lab results; what is compared is their PID, NK1 and PV1, read as those of an ADT^A08."""
    message.segments[0].fields[9] = "ADT^A08"
    for name, field in (("PID", 3), ("PV1", 19)):
        for segment in message.all(name):
            segment.fields += [""] * (field + 1 - len(segment.fields))
            segment.fields[field] = segment.fields[field] or "NONE"
    return message


def datatype_files(group: str) -> Iterator[tuple[str, Message, dict[str, Any]]]:
    for source in sorted((CORPUS / "pairs" / "cdc-reportstream" / group).rglob("*.hl7")):
        expected = source.with_suffix(".fhir")
        if expected.exists():
            yield source.stem, parse(source.read_bytes()), json.loads(expected.read_text("utf-8-sig"))


def datatype_differences() -> Iterator[tuple[str, str, Any, Any]]:
    for group in GROUPS:
        for name, message, bundle in datatype_files(group):
            if message.first("PID") is not None:
                for found in compare_datatypes(group, MAPS.map(as_update(message), CONTEXT), bundle):
                    yield f"{group}/{name}", *found


def cx_differences() -> Iterator[tuple[str, str, Any, Any]]:
    """The `cx` group keeps its CX in OBR-53, which no map reads: the function itself is compared."""
    for name, message, bundle in datatype_files("cx"):
        ours = as_cx(message.all("OBR")[0].raw(53).split("^"), reader_of(message))
        found = [node for node in nodes(bundle) if node.get("value") == ours["value"] and "type" in node]
        assert found, name
        for theirs in found:
            types = {coding.get("code") for coding in theirs["type"].get("coding", [])}
            if ours.get("type") not in types:
                yield f"cx/{name}", "type", ours.get("type"), types
            authorities = {str(value) for node in nodes(theirs) for value in node.values() if isinstance(value, str)}
            if not any(ours["assigner"] in authority for authority in authorities):
                yield f"cx/{name}", "assigner", ours["assigner"], authorities


def table() -> set[tuple[str, str]]:
    """(pair, field) of docs/mapping-differences.md; each row must give a reason."""
    rows = set()
    for line in TABLE.read_text("utf-8").splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if line.startswith("| ") and len(cells) == 3 and cells[0] not in ("pair", "---"):
            assert len(cells[2]) > 10, f"{cells[0]}, {cells[1]}: a difference needs a reason"
            rows.add((cells[0], cells[1]))
    return rows


def test_every_difference_stands_in_the_table_with_its_reason() -> None:
    found = {(name, field) for name, field, _, _ in [*converter_differences(), *datatype_differences(), *cx_differences()]}
    missing, stale = found - table(), table() - found
    assert not missing, f"differ, and no row says why: {sorted(missing)}"
    assert not stale, f"rows of docs/mapping-differences.md that no longer differ: {sorted(stale)}"


def test_the_pairs_are_there_and_mostly_agree() -> None:
    pairs = len(list((CORPUS / "pairs" / "ms-fhir-converter").glob("ADT*"))) + len(
        list((CORPUS / "pairs" / "ms-fhir-converter").glob("SIU*"))
    )
    assert pairs >= 33
    fields = {(name, field) for name, field, _, _ in converter_differences()}
    identity = {"Patient birthDate", "Patient gender", "Encounter visit number", "Encounter class"}
    assert not {row for row in fields if row[1] in identity}


def nodes(found: Any) -> Iterator[dict[str, Any]]:
    """Every object in a JSON document."""
    if isinstance(found, dict):
        yield found
    for inner in found.values() if isinstance(found, dict) else found if isinstance(found, list) else ():
        yield from nodes(inner)


def reader_of(message: Message) -> Reader:
    return Reader(message.delimiters, message.charset, "TEST", "ocs", "UTC")


def test_hd_gives_a_name_that_the_pair_gives() -> None:
    seen = 0
    for name, message, bundle in datatype_files("hd"):
        header = message.segments[0]
        texts = [header.raw(4).replace("^", "&"), *header.raw(22).split("^")]
        for text in texts:
            if "&" in text:
                ours = assigner_of(text, reader_of(message))
                assert any(ours == value for node in nodes(bundle) for value in node.values()), name
                seen += 1
    assert seen >= 10


@pytest.mark.parametrize(("group", "segment", "field", "key"), [
    ("dtm/dateTime", "PID", 29, "deceasedDateTime"), ("dtm/instant", "OBR", 22, "issued"), ("dtm/date", "PID", 7, "birthDate"),
])  # fmt: skip
def test_times_keep_the_precision_and_the_moment_of_the_pair(group: str, segment: str, field: int, key: str) -> None:
    seen = 0
    for name, message, bundle in datatype_files(group):
        theirs = next((node[key] for node in nodes(bundle) if isinstance(node.get(key), str)), None)
        text = message.all(segment)[0].value(field) or ""
        try:
            ours = iso_date(text) if key == "birthDate" else iso_time(text, "UTC")
        except BadValue:
            ours = None
        assert instant(ours) == instant(theirs), name
        seen += 1
    assert seen >= 10
