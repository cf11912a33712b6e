"""Real services' $metadata: each loads, and what each lacks is named, by hub check's words. Sample rows go through the map."""

from __future__ import annotations

import csv
import os
from pathlib import Path

import pytest

from hub.adapters.erp import odata_in
from hub.adapters.erp.odata_in_rows import Rows
from hub.adapters.erp.odata_in_sets import KNOWN
from hub.adapters.erp.odata_in_wants import wants
from hub.adapters.erp.partner_wants import wants as written
from hub.adapters.erp.settings import Settings
from hub.codecs.sap import edmx, edmx_wanted
from hub.codecs.sap.edmx_wanted import Want
from hub.domain.facts import Fact
from hub.domain.ports import Difference
from hub.mapping import Context, load_maps

ROOT = Path(__file__).parents[2]
CORPUS = Path(os.environ.get("HUB_CORPUS") or ROOT.parent / "shared" / "corpus") / "sap"
pytestmark = [pytest.mark.corpus, pytest.mark.skipif(not CORPUS.is_dir(), reason="no corpus: set HUB_CORPUS")]
# $metadata -> what of it is missing or different for erp.odata_in, and for erp.business_partner; all of it a warning
DEATH = "A_BusinessPartner/BusinessPartnerDeathDate"
LACKS: dict[str, tuple[set[str], set[str]]] = {
    "cap-samples-java": ({DEATH}, {DEATH}),
    "cloud-extension-ecc": ({DEATH}, {DEATH, "A_BusinessPartner/SearchTerm2"}),
    "incidents-app": (set(), set()),
}
CONTEXT = Context("HOSP", "erp", "Asia/Seoul", 1_000)


def service(name: str) -> edmx.Service:
    return edmx.read((CORPUS / name / "API_BUSINESS_PARTNER.edmx").read_bytes())


def compared(name: str, what: list[Want]) -> list[Difference]:
    return edmx_wanted.compare(service(name), what, "do without")


def reading() -> list[Want]:
    return wants("A_BusinessPartner", KNOWN["A_BusinessPartner"])


def writing() -> list[Want]:
    table = {
        "url": "https://sap.example", "identification_type": "ZMRN", "create": True, "grouping": "BP02", "roles": ["FLCU01"],
        "company": {"CompanyCode": "1000", "ReconciliationAccount": "121000"}, "merged": "block",
    }  # fmt: skip
    return written(Settings.from_table(table))


def test_every_description_loads_and_is_listed_here() -> None:
    files = {file.parent.name for file in CORPUS.glob("*/*.edmx")}
    assert files == LACKS.keys()
    for name in files:
        loaded = service(name)
        assert all(loaded.type_of(one) is not None for one in loaded.sets)
        assert all(link[0] in loaded.types for kind in loaded.types.values() for link in kind.navigation.values())


@pytest.mark.parametrize("name", LACKS)
def test_what_each_lacks_is_named(name: str) -> None:
    for what, lacks in zip((reading(), writing()), LACKS[name], strict=True):
        found = {one.where: one for one in compared(name, what)}
        assert found.keys() == lacks
        assert all(one.works for one in found.values())
        assert DEATH not in found or "deceasedAt is not carried" in found[DEATH].text


def test_whatever_is_taken_away_is_named() -> None:
    """Each thing that a channel needs is missed when it is not there: no check that cannot fail."""
    name = "cloud-extension-ecc"
    for what in (reading(), writing()):
        for want in what:
            changed = service(name)
            entity_set, *names = want.path.split("/")
            kind = changed.type_of(entity_set)
            assert kind is not None
            for one in names[:-1]:
                kind = changed.types[kind.navigation[one][0]]
            if not names:
                del changed.sets[entity_set]
            elif names[-1] in kind.properties:
                del kind.properties[names[-1]]
            else:
                kind.navigation.pop(names[-1], None)
            found = {one.where: one for one in edmx_wanted.compare(changed, what, "do without")}
            assert want.path in found
            assert found[want.path].works or want.needed or any(one.needed for one in what if one.path.startswith(want.path))


def test_a_shorter_name_is_a_warning_with_both_lengths() -> None:
    changed = service("incidents-app")
    kind = changed.type_of("A_BusinessPartner")
    assert kind is not None
    kind.properties["LastName"] = kind.properties["LastName"]._replace(length=35)
    [found] = edmx_wanted.compare(changed, writing(), "do without")
    assert found.works
    assert (found.where, found.text[:44]) == ("A_BusinessPartner/LastName", "it holds 35 characters, up to 40 are sent: w")


def rows(name: str, entity_set: str) -> list[dict[str, str]]:
    with (CORPUS / name / f"API_BUSINESS_PARTNER-{entity_set}.csv").open(encoding="utf-8-sig", newline="") as file:
        first = file.readline()
        file.seek(0)
        return [
            {key: value for key, value in row.items() if key and value is not None}
            for row in csv.DictReader(file, delimiter=";" if ";" in first else ",")
        ]


@pytest.mark.parametrize("name", ["cloud-extension-ecc", "incidents-app"])
def test_sample_rows_go_through_the_map(name: str) -> None:
    """As an OData service would show them, under a number of ours, with SAP's first and last day."""
    maps, shape = load_maps(), KNOWN["A_BusinessPartner"]
    below = {"to_MobilePhoneNumber": "A_AddressPhoneNumber", "to_EmailAddress": "A_AddressEmailAddress"}
    for partner in rows(name, "A_BusinessPartner"):
        addresses = [
            {
                "AddressID": one["AddressID"],
                "CityName": one.get("CityName", ""),
                "Country": one.get("Country", ""),
                "StreetName": one.get("StreetName", ""),
                "to_PhoneNumber": {"results": []},
                **{
                    navigation: {"results": [r for r in rows(name, below_set) if r["AddressID"] == one["AddressID"]]}
                    for navigation, below_set in below.items()
                    if (CORPUS / name / f"API_BUSINESS_PARTNER-{below_set}.csv").exists()
                },
            }
            for one in rows(name, "A_BusinessPartnerAddress")
            if one["BusinessPartner"] == partner["BusinessPartner"]
        ]
        entity = partner | {
            "BirthDate": "/Date(-62135769600000)/", "BusinessPartnerDeathDate": "/Date(253402214400000)/",
            "to_BusinessPartnerAddress": {"results": addresses}, "to_BusinessPartnerRole": {"results": []}, "to_Customer": None,
            "to_BuPaIdentification": {
                "results": [{"BPIdentificationType": "ZMRN", "BPIdentificationNumber": f"9{partner['BusinessPartner']}"}]
            },
        }  # fmt: skip
        found = Rows(shape, "ZMRN", "external").found(entity)
        assert found.refused is None
        mapped = maps.map_row("A_BusinessPartner", found.row, CONTEXT)
        [fact] = mapped.facts
        assert isinstance(fact, Fact)
        assert fact.key.value == f"9{partner['BusinessPartner']}"
        assert fact.values.get("birthDate") is None
        assert fact.values.get("deceasedAt") is None
        if "LastName" in partner:
            assert fact.values["name"][0]["text"] == f"{partner['FirstName']} {partner['LastName']}"
            assert {one["system"] for one in fact.values["telecom"]} == {"phone", "email"}
        assert mapped.warnings == []


def test_settings_take_the_file_itself() -> None:
    table = {
        "url": "https://sap.example", "set": "A_BusinessPartner", "identification_type": "ZMRN",
        "metadata": CORPUS / "cloud-extension-ecc" / "API_BUSINESS_PARTNER.edmx",
    }  # fmt: skip
    source = odata_in.build(odata_in.Settings.from_table(table))
    found = source.differences(ask=False)
    assert found is not None
    assert [one.where for one in found] == [DEATH]
    source.close()
