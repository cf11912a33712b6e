"""What a channel writes into API_BUSINESS_PARTNER, for `hub check`: each property with its type, its longest text and what it
is for."""

from __future__ import annotations

from hub.adapters.erp import fields as bp
from hub.adapters.erp.settings import Settings
from hub.codecs.sap.edmx_wanted import Want

_TEXT, _DAY, _FLAG = ("Edm.String",), ("Edm.DateTime",), ("Edm.Boolean",)
_PARTNER, _ADDRESS = "A_BusinessPartner", "A_BusinessPartner/to_BusinessPartnerAddress"
_REFUSED = "the service refuses what is written with it, and the channel stops"
_EVERY = {
    f"{_PARTNER}/LastName": _TEXT,
    f"{_PARTNER}/FirstName": _TEXT,
    f"{_PARTNER}/BusinessPartnerCategory": _TEXT,
    f"{_PARTNER}/BirthDate": _DAY,
    f"{_PARTNER}/IsMale": _FLAG,
    f"{_PARTNER}/IsFemale": _FLAG,
    f"{_PARTNER}/IsSexUnknown": _FLAG,
    f"{_PARTNER}/CorrespondenceLanguage": _TEXT,
    **{f"{_ADDRESS}/{name}": _TEXT for name in (*bp.STREET, "CityName", "District", "PostalCode", "Region", "Country")},
    **{
        f"{_ADDRESS}/{navigation}/{name}": _TEXT
        for navigation in ("to_MobilePhoneNumber", "to_PhoneNumber")
        for name in ("PhoneNumber", "PhoneNumberType", "DestinationLocationCountry")
    },
    f"{_ADDRESS}/to_EmailAddress/EmailAddress": _TEXT,
    f"{_PARTNER}/to_BuPaIdentification/BPIdentificationType": _TEXT,
    f"{_PARTNER}/to_BuPaIdentification/BPIdentificationNumber": _TEXT,
}
_FLAGS = {"archive": "IsMarkedForArchiving", "block": "BusinessPartnerIsBlocked"}


def wants(settings: Settings) -> list[Want]:
    """Of a channel with these settings."""
    found = [Want(_PARTNER, needed="nothing can be sent; check url"), Want("A_BuPaIdentification", needed="nobody can be found")]
    found.append(Want(f"{_ADDRESS}/to_AddressUsage/AddressUsage", _TEXT, carries="which address is the standard one"))
    for path, kinds in _EVERY.items():
        found.append(Want(path, kinds, bp.LENGTHS.get(path.rpartition("/")[2], 0), needed=_REFUSED, writes=True))
    found.append(Want(f"{_PARTNER}/BusinessPartnerDeathDate", _DAY, carries="deceasedAt", writes=True))
    if settings.grouping:
        found.append(Want(f"{_PARTNER}/BusinessPartnerGrouping", _TEXT, 4, needed=f"{_REFUSED}; take grouping away", writes=True))
    if settings.roles:
        path = f"{_PARTNER}/to_BusinessPartnerRole/BusinessPartnerRole"
        found.append(Want(path, _TEXT, 6, needed=f"{_REFUSED}; take roles away", writes=True))
    for key, table, navigation in (
        ("company", settings.company, "to_CustomerCompany"),
        ("sales_area", settings.sales_area, "to_CustomerSalesArea"),
    ):
        for name, value in table.items():
            path = f"{_PARTNER}/to_Customer/{navigation}/{name}"
            found.append(Want(path, _TEXT, len(value), needed=f"{_REFUSED}; take it out of {key}", writes=True))
    if settings.merged != "nothing":
        named = {"SearchTerm2": _TEXT} | ({_FLAGS[settings.merged]: _FLAG} if settings.merged in _FLAGS else {})
        for name, kinds in named.items():
            found.append(
                Want(f"{_PARTNER}/{name}", kinds, needed=f'{_REFUSED} at a merge; write merged = "nothing"', writes=True)
            )
    return found
