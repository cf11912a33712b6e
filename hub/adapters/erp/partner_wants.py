"""What erp.business_partner reads and writes of API_BUSINESS_PARTNER, as its settings make it: for hub check."""

from __future__ import annotations

from hub.adapters.erp import fields as bp
from hub.adapters.erp.odata_in_wants import DAY, FLAG, TEXT
from hub.adapters.erp.settings import Settings
from hub.codecs.sap.edmx_wanted import Want

PARTNER, ADDRESS = "A_BusinessPartner", "A_BusinessPartner/to_BusinessPartnerAddress"
REFUSED = "(and SAP refuses a patient who has it)"
READ = "no partner can be read, so nothing is sent"
FOUND = "no patient is found by his number, so nothing is sent; check identification_type and the service's release"
PERSON = {
    "FirstName": (TEXT, "the given name"), "CorrespondenceLanguage": (TEXT, "language"), "BirthDate": (DAY, "birthDate"),
    "BusinessPartnerDeathDate": (DAY, "deceasedAt"), "IsMale": (FLAG, "gender"), "IsFemale": (FLAG, "gender"),
    "IsSexUnknown": (FLAG, "gender"),
}  # fmt: skip
MERGED = {"tell": "", "archive": "IsMarkedForArchiving", "block": "BusinessPartnerIsBlocked", "nothing": ""}
MERGE = 'that a patient was merged away (write merged = "nothing")'
CUSTOMER = {"company": "to_CustomerCompany", "sales_area": "to_CustomerSalesArea"}


def wants(settings: Settings) -> list[Want]:
    """Of one channel."""
    return [
        Want(PARTNER, needed="nothing can be sent; check url: it must be the root of API_BUSINESS_PARTNER"),
        Want(f"{PARTNER}/BusinessPartner", TEXT, needed=READ),
        *_found(settings),
        *_person(settings),
        *_address(),
        *_optional(settings),
    ]


def _found(settings: Settings) -> list[Want]:
    number = "A_BuPaIdentification/BPIdentificationNumber"
    return [
        Want("A_BuPaIdentification/BusinessPartner", TEXT, needed=FOUND),
        Want("A_BuPaIdentification/BPIdentificationType", TEXT, len(settings.identification_type), needed=FOUND),
        Want(number, TEXT, bp.LENGTHS["BPIdentificationNumber"], needed=FOUND),
    ]


def _person(settings: Settings) -> list[Want]:
    made = "no partner can be created; write create = false"
    found = [Want(f"{PARTNER}/LastName", TEXT, bp.LENGTHS["LastName"], needed=made if settings.create else READ, writes=True)]
    if settings.create:
        found.append(Want(f"{PARTNER}/BusinessPartnerCategory", TEXT, needed=made))
        found.append(Want(f"{PARTNER}/to_BuPaIdentification", needed=made))
    for name, (kinds, carries) in PERSON.items():
        found.append(Want(f"{PARTNER}/{name}", kinds, bp.LENGTHS.get(name, 0), carries=carries, writes=True))
    return found


def _address() -> list[Want]:
    below = ("to_PhoneNumber", "to_MobilePhoneNumber", "to_EmailAddress", "to_AddressUsage")
    found = [Want(f"{ADDRESS}/{one}", needed=READ) for one in below]
    found += [
        Want(f"{ADDRESS}/{name}", TEXT, _longest(name), carries=f"address {REFUSED}", writes=True)
        for name in (*bp.STREET, "CityName", "District", "PostalCode", "Country", "Region")
    ]
    found.append(Want(f"{ADDRESS}/HouseNumber", TEXT, carries="a house number that SAP keeps by itself"))
    found.append(Want(f"{ADDRESS}/AddressID", TEXT, needed=READ))
    for navigation, slot in (("to_PhoneNumber", "home"), ("to_MobilePhoneNumber", "mobile")):
        number = Want(
            f"{ADDRESS}/{navigation}/PhoneNumber", TEXT, bp.LENGTHS["PhoneNumber"],
            carries=f"telecom.{slot} {REFUSED}", writes=True,
        )  # fmt: skip
        rest = ("PhoneNumberType", "DestinationLocationCountry")
        found += [number, *(number._replace(path=f"{ADDRESS}/{navigation}/{one}", length=0) for one in rest)]
    mail = f"{ADDRESS}/to_EmailAddress/EmailAddress"
    return [*found, Want(mail, TEXT, bp.LENGTHS["EmailAddress"], carries=f"telecom.email {REFUSED}", writes=True)]


def _longest(name: str) -> int:
    """Of what is sent: a country has two letters."""
    return 2 if name == "Country" else bp.LENGTHS[name]


def _optional(settings: Settings) -> list[Want]:
    """What only some settings need."""
    found = []
    if settings.grouping:
        found.append(Want(f"{PARTNER}/BusinessPartnerGrouping", TEXT, needed="no partner can be created; write no grouping"))
    if settings.merged != "nothing":
        found.append(Want(f"{PARTNER}/SearchTerm2", TEXT, 20, carries=MERGE, writes=True))
    if MERGED[settings.merged]:
        found.append(Want(f"{PARTNER}/{MERGED[settings.merged]}", FLAG, carries=MERGE, writes=True))
    if settings.roles:
        found.append(Want(f"{PARTNER}/to_BusinessPartnerRole/BusinessPartnerRole", TEXT, 6, needed="write no roles"))
    for name, navigation in CUSTOMER.items():
        table = getattr(settings, name)
        found += [Want(f"{PARTNER}/to_Customer/{navigation}/{one}", ANY, needed=f'take it out of "{name}"') for one in table]
    return found


ANY = (*TEXT, *FLAG, *DAY, "Edm.Decimal", "Edm.Int32", "Edm.Int16")
