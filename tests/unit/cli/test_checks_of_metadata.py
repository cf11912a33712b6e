"""`hub check` names what SAP's $metadata lacks, by a file where SAP cannot be asked: an error where nothing would come."""

from __future__ import annotations

from pathlib import Path

from tests.unit.cli.conftest import Run

CHANNELS = """
[channels.sap-in]
adapter = "erp.odata_in"
system = "erp"
url = "http://127.0.0.1:9/sap"
set = "A_BusinessPartner"
identification_type = "ZMRN"
metadata = "partner.edmx"
{more}
[channels.sap-out]
adapter = "erp.business_partner"
system = "erp"
url = "http://127.0.0.1:9/sap"
identification_type = "ZMRN"
metadata = "partner.edmx"
"""
STRING = (
    "LastName",
    "FirstName",
    "MiddleName",
    "CorrespondenceLanguage",
    "Customer",
    "BusinessPartner",
    "BusinessPartnerCategory",
)
FLAGS = ("IsMale", "IsFemale", "IsSexUnknown")


def described(*without: str) -> str:
    """A service that has all but the properties named; its navigation leads to one type that has everything of an address."""
    below = (
        "AddressID", "Country", "Region", "PostalCode", "CityName", "District", "StreetName", "HouseNumber", "StreetSuffixName",
        "AdditionalStreetSuffixName", "PhoneNumber", "PhoneNumberExtension", "DestinationLocationCountry", "PhoneNumberType",
        "EmailAddress", "AddressUsage", "BPIdentificationType", "BPIdentificationNumber", "Customer", "BusinessPartner",
    )  # fmt: skip
    kinds = [
        *((name, "Edm.String") for name in (*STRING, "SearchTerm2")), *((name, "Edm.Boolean") for name in FLAGS),
        ("BirthDate", "Edm.DateTime"), ("BusinessPartnerDeathDate", "Edm.DateTime"), ("LastChangeDate", "Edm.DateTime"),
        ("CreationDate", "Edm.DateTime"), ("LastChangeTime", "Edm.Time"), ("CreationTime", "Edm.Time"),
    ]  # fmt: skip
    own = "".join(f'<Property Name="{name}" Type="{kind}"/>' for name, kind in kinds if name not in without)
    flags = [(name, "Edm.Boolean") for name in ("IsDefaultPhoneNumber", "IsDefaultEmailAddress")]
    all_below = [*((name, "Edm.String") for name in below), *flags]
    others = "".join(f'<Property Name="{name}" Type="{kind}"/>' for name, kind in all_below if name not in without)
    ways = (
        "to_BusinessPartnerAddress", "to_BuPaIdentification", "to_BusinessPartnerRole", "to_Customer", "to_PhoneNumber",
        "to_MobilePhoneNumber", "to_EmailAddress", "to_AddressUsage",
    )  # fmt: skip
    links = "".join(f'<NavigationProperty Name="{way}" Relationship="A.x" ToRole="many"/>' for way in ways)
    return (
        '<Edmx><Schema Namespace="A"><EntityType Name="P"><Key><PropertyRef Name="BusinessPartner"/></Key>'
        f"{own}{links}</EntityType>"
        f'<EntityType Name="B">{others}{links}</EntityType><Association Name="x"><End Type="A.B" Multiplicity="*" Role="many"/>'
        '</Association><EntityContainer><EntitySet Name="A_BusinessPartner" EntityType="A.P"/>'
        '<EntitySet Name="A_BuPaIdentification" EntityType="A.B"/></EntityContainer></Schema></Edmx>'
    )


def write(hub_toml: Path, edmx: str, more: str = "") -> None:
    text = hub_toml.read_text().replace('adapter = "crm.webhook"', 'adapter = "crm.webhook"\nenabled = false')
    hub_toml.write_text(text + CHANNELS.format(more=more))
    (hub_toml.parent / "partner.edmx").write_text(edmx)


def test_a_service_that_has_everything(run: Run, hub_toml: Path) -> None:
    write(hub_toml, described())
    ran = run("check", "-c", hub_toml)
    assert ran.code == 0, ran.out
    assert ran.out.count("its peer describes all that it needs") == 2


def test_a_field_that_is_not_there_is_a_warning_and_a_question_that_would_be_refused_an_error(run: Run, hub_toml: Path) -> None:
    write(hub_toml, described("BusinessPartnerDeathDate", "District"))
    ran = run("check", "-c", hub_toml)
    assert ran.code == 0, ran.out
    flat = " ".join(ran.out.split())
    assert "ok channel sap-in: warning: A_BusinessPartner/BusinessPartnerDeathDate: there is no such property" in flat
    assert "deceasedAt is not carried" in flat
    assert "address (and SAP refuses a patient who has it) is not carried" in flat
    (hub_toml.parent / "partner.edmx").write_text(described("LastChangeTime"))
    ran = run("check", "-c", hub_toml)
    assert ran.code == 2
    assert "NO channel sap-in: A_BusinessPartner/LastChangeTime: there is no such property" in " ".join(ran.out.split())


def test_a_file_that_is_no_description_and_a_file_that_is_not_there(run: Run, hub_toml: Path) -> None:
    write(hub_toml, "<html/>")
    ran = run("check", "-c", hub_toml)
    assert ran.code == 2
    assert "partner.edmx cannot be compared" in " ".join(ran.out.split())
    (hub_toml.parent / "partner.edmx").unlink()
    assert "partner.edmx cannot be read" in " ".join(run("check", "-c", hub_toml).out.split())


def test_a_set_that_no_map_reads_is_an_error(run: Run, hub_toml: Path) -> None:
    write(hub_toml, described())
    hub_toml.write_text(hub_toml.read_text().replace('set = "A_BusinessPartner"', 'set = "Z_OWN"\nkey = ["Id"]'))
    assert 'no map has rows of "Z_OWN"' in " ".join(run("check", "-c", hub_toml).out.split())
