"""A service's $metadata is read, and what a channel needs of it is named: missing, of another type, too short, not writable."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hub.adapters.erp import odata_in
from hub.adapters.erp.odata_in_sets import KNOWN
from hub.adapters.erp.odata_in_wants import NEEDED, READ, wants
from hub.codecs.sap import edmx, edmx_wanted
from hub.codecs.sap.edmx_wanted import Want
from hub.domain.errors import Misconfigured, Unreadable
from hub.mapping import load_maps

XML = b"""<?xml version="1.0" encoding="utf-8"?>
<edmx:Edmx Version="1.0" xmlns:edmx="http://schemas.microsoft.com/ado/2007/06/edmx"
 xmlns:sap="http://www.sap.com/Protocols/SAPData">
<edmx:DataServices><Schema Namespace="API" xmlns="http://schemas.microsoft.com/ado/2008/09/edm">
<EntityType Name="BaseType"><Key><PropertyRef Name="Id"/></Key>
<Property Name="Id" Type="Edm.String" Nullable="false" MaxLength="10"/>
</EntityType>
<EntityType Name="PartnerType" BaseType="API.BaseType">
<Property Name="LastName" Type="Edm.String" MaxLength="35"/>
<Property Name="BirthDate" Type="Edm.String"/>
<Property Name="FullName" Type="Edm.String" sap:creatable="false" sap:updatable="false"/>
<NavigationProperty Name="to_Address" Relationship="API.both" FromRole="one" ToRole="many"/>
</EntityType>
<EntityType Name="AddressType"><Property Name="CityName" Type="Edm.String" MaxLength="max"/></EntityType>
<ComplexType Name="Other"><Property Name="Nobody" Type="Edm.String"/></ComplexType>
<Association Name="both"><End Type="API.PartnerType" Multiplicity="1" Role="one"/>
<End Type="API.AddressType" Multiplicity="*" Role="many"/></Association>
<EntityContainer Name="C"><EntitySet Name="A_Partner" EntityType="API.PartnerType"/>
<EntitySet Name="A_Address" EntityType="API.AddressType"/></EntityContainer>
</Schema></edmx:DataServices></edmx:Edmx>"""


def test_sets_properties_navigation_and_inheritance() -> None:
    service = edmx.read(XML)
    partner = service.type_of("A_Partner")
    assert partner is not None
    assert partner.key == ["Id"]
    assert list(partner.properties) == ["Id", "LastName", "BirthDate", "FullName"]
    assert partner.properties["LastName"] == edmx.Property("Edm.String", 35, True, True, True)
    assert not partner.properties["FullName"].updatable
    assert partner.navigation == {"to_Address": ("API.AddressType", True)}
    assert service.type_of("A_Nothing") is None


def test_what_is_missing_or_different_is_named_with_its_consequence() -> None:
    asked = [
        Want("A_Partner/Id", ("Edm.String",), needed="x"),
        Want("A_Partner/LastName", ("Edm.String",), length=40, carries="name", writes=True),
        Want("A_Partner/BirthDate", ("Edm.DateTime",), carries="birthDate"),
        Want("A_Partner/FullName", ("Edm.String",), carries="note", writes=True),
        Want("A_Partner/Missing", ("Edm.String",), carries="language"),
        Want("A_Partner/to_Address/CityName", ("Edm.String",), length=40),
        Want("A_Partner/to_Phone", needed="nothing comes"),
        Want("A_Partner/to_Phone/PhoneNumber", ("Edm.String",), carries="telecom"),
        Want("A_Gone"),
        Want("A_Gone/One", ("Edm.String",)),
    ]
    found = {one.where: one for one in edmx_wanted.compare(edmx.read(XML), asked, "do without")}
    assert {where: one.works for where, one in found.items()} == {
        "A_Partner/to_Phone": False, "A_Gone": True, "A_Partner/BirthDate": True, "A_Partner/FullName": True,
        "A_Partner/LastName": True, "A_Partner/Missing": True,
    }  # fmt: skip
    assert found["A_Partner/to_Phone"].text == "there is no such navigation: nothing comes"
    assert found["A_Partner/BirthDate"].text == "it is Edm.String, not Edm.DateTime: birthDate is not carried; do without"
    assert found["A_Partner/FullName"].text == "it cannot be written there: note is not carried; do without"
    assert "holds 35 characters, up to 40 are sent" in found["A_Partner/LastName"].text


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (b"", "not_xml"),
        (b"{}", "not_xml"),
        (XML[:-20], "not_xml"),
        (b"<a/>", "not_edmx"),
        (b'<!DOCTYPE a [<!ENTITY x SYSTEM "file:///etc/passwd">]><a>&x;</a>', "forbidden_xml"),
        (b'<!DOCTYPE a [<!ENTITY a "aaaa"><!ENTITY b "&a;&a;&a;&a;">]><a>&b;</a>', "forbidden_xml"),
        (b'<?xml version="1.0" encoding="x-none"?><a/>', "charset"),
        (b"<a>" * 100, "too_deep"),
        (b"<a><Schema>" + b"<Property/>" * (edmx.MOST_NAMES + 1), "too_large"),
        (b" " * (edmx.MOST_BYTES + 1), "too_large"),
    ],
)
def test_what_is_no_description_is_refused(data: bytes, code: str) -> None:
    with pytest.raises(Unreadable) as caught:
        edmx.read(data)
    assert caught.value.code == code


@given(st.binary(max_size=300), st.integers(0, len(XML)), st.integers(0, 40))
def test_a_damaged_description_is_read_or_refused(junk: bytes, at: int, cut: int) -> None:
    try:
        edmx.read(XML[:at] + junk + XML[at + cut :])
    except Unreadable:
        return


def test_what_is_compared_is_what_the_shipped_map_reads() -> None:
    """One table says what the map reads, for hub check: neither more nor less."""
    engine = load_maps()._engines["row"]
    for name in KNOWN:
        read = set()
        for block, _, _ in engine.events[name].blocks:
            spec = block.block
            prefix = f"{spec.each[0].text}." if spec.each else ""
            keys = [key for keys in (*spec.keys.values(), spec.patient, *spec.refs.values()) for key in keys]
            whens = [one.when for one in (spec, *spec.rules, *keys) if one.when]
            paths = [path for one in (*spec.rules, *keys, *whens) for path in one.paths]
            read |= {path.text.replace("*.", prefix).replace(".", "/") for path in paths}
        told = {path for fields in READ[name].values() for path in fields} | set(NEEDED[name]) | set(KNOWN[name].key)
        used_by_the_channel = {path for path in told if "Default" in path or "Identification" in path or "Usage" in path}
        assert read - told == {one for one in read if one.startswith("hub_")}
        assert told - read - used_by_the_channel == (
            {"to_BusinessPartnerAddress/AddressID"} if name == "A_BusinessPartner" else set()
        )


def settings(tmp_path: Path, **more: object) -> odata_in.Settings:
    table = {"url": "https://sap.example", "set": "A_Partner", "key": ["Id"], "where": "none", **more}
    return odata_in.Settings.from_table(table)


def test_a_channel_is_compared_by_a_file_where_sap_cannot_be_asked(tmp_path: Path) -> None:
    file = tmp_path / "service.edmx"
    file.write_bytes(XML)
    source = odata_in.build(settings(tmp_path, metadata=file, changed_on=["LastChangeDate"], expand=["to_Address"]))
    found = source.differences(ask=False)
    assert found is not None
    assert [(one.where, one.works) for one in found] == [("A_Partner/LastChangeDate", False)]
    assert "write changed_on" in found[0].text
    file.write_bytes(b"<html/>")
    with pytest.raises(Misconfigured, match=r"service\.edmx"):
        source.differences(ask=False)
    source.close()
    source = odata_in.build(settings(tmp_path))
    assert source.differences(ask=False) is None
    source.close()


def test_the_hub_asks_for_nothing_else_than_it_says() -> None:
    for name, shape in KNOWN.items():
        paths = {want.path for want in wants(name, shape)}
        asked = (*shape.key, *shape.days, *shape.clocks, *shape.select, *shape.expand, *filter(None, (shape.stamp,)))
        assert {f"{name}/{one}" for one in asked} <= paths
