"""What a front-end may send: checked here field by field, unknown fields refused, then handed on as canonical values.

The classes are the write side of hub/domain/model.py. A field that was not sent is not in `values()`; null deletes it.
"""

from __future__ import annotations

import re
from datetime import date, datetime
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from hub.audit.entry import check_detail
from hub.domain.search import national_digits
from hub.mapping.korean import normalise_phone
from hub.mapping.times import BadValue

FIRST_YEAR, LAST_YEAR = 1900, 2200
_PARTIAL = re.compile(r"\d{4}(-(0[1-9]|1[0-2]))?\Z")
_EMAIL = re.compile(r"[^@\s<>\"',;]+@[^@\s<>\"',;]+\.[^@\s<>\"',;]+\Z")
_REGISTRATION = re.compile(r"(?<!\d)\d{6}-?[1-8]\d{6}(?!\d)")


def _clean(text: str) -> str:
    """No control characters (they would end an HL7 segment), no blanks around, no resident registration number."""
    if any(ord(c) < 32 and c not in "\n\t" for c in text):
        raise ValueError("control characters are not allowed")
    if _REGISTRATION.search(text):
        raise ValueError("a resident registration number is not kept here")
    return text.strip()


def audit_reason(text: str) -> str:
    """A reason as the audit log takes it (hub/audit/entry.py): short, and without long numbers. Raises ValueError."""
    cleaned = _clean(text)
    try:
        check_detail({"reason": cleaned})
    except ValueError:
        raise ValueError("at most 200 characters, no telephone, registration or other long number") from None
    return cleaned


def _year(year: int) -> None:
    """Far-off years are slips, and times at the ends of the calendar cannot be told in another zone."""
    if not FIRST_YEAR <= year <= LAST_YEAR:
        raise ValueError(f"the year must be {FIRST_YEAR} to {LAST_YEAR}")


def _date(text: str) -> str:
    if _PARTIAL.match(text):
        _year(int(text[:4]))
        return text
    try:
        found = date.fromisoformat(text)
    except ValueError:
        raise ValueError("must be a date: YYYY-MM-DD, YYYY-MM or YYYY") from None
    if found.isoformat() != text:
        raise ValueError("must be a date: YYYY-MM-DD, YYYY-MM or YYYY")
    _year(found.year)
    return text


def _time(text: str) -> str:
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        raise ValueError("must be an ISO 8601 time with offset: 2026-11-22T09:00:00+09:00") from None
    if found.tzinfo is None:
        raise ValueError("needs its offset: 2026-11-22T09:00:00+09:00")
    _year(found.year)
    return found.isoformat(timespec="seconds")


Line = Annotated[str, Field(min_length=1, max_length=300), AfterValidator(_clean)]
Note = Annotated[str, Field(max_length=4000), AfterValidator(_clean)]
Day = Annotated[str, Field(max_length=10), AfterValidator(_date)]
Moment = Annotated[str, Field(max_length=40), AfterValidator(_time)]
ResourceId = Annotated[str, Field(min_length=1, max_length=64)]


class Body(BaseModel):
    """Base: unknown fields are errors, types are not guessed."""

    model_config = ConfigDict(extra="forbid", strict=True)

    def values(self) -> dict[str, Any]:
        """Exactly what was sent. A null deletes a field, so it stays; inside a list there is nothing that it could delete."""
        sent = self.model_dump(exclude_unset=True, by_alias=True)
        return {name: _no_nulls(value) if isinstance(value, list) else value for name, value in sent.items()}


def _no_nulls(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _no_nulls(one) for name, one in value.items() if one is not None}
    return [_no_nulls(one) for one in value] if isinstance(value, list) else value


class CodingIn(Body):
    """A code with its system; `display` or only words."""

    code: Line | None = None
    system: Line | None = None
    display: Line | None = None


class IdentifierIn(Body):
    """A number and who gave it out."""

    assigner: Line
    value: Line
    type: Line | None = None
    use: Literal["usual", "official", "temp", "secondary", "old"] | None = None


class HumanNameIn(Body):
    """`text` as people write it; family and given where known."""

    text: Line
    family: Line | None = None
    given: Annotated[list[Line], Field(max_length=5)] | None = None
    prefix: Annotated[list[Line], Field(max_length=5)] | None = None
    suffix: Annotated[list[Line], Field(max_length=5)] | None = None
    use: Line | None = None
    representation: Literal["IDE", "ABC", "SYL"] | None = None


class ContactPointIn(Body):
    """A phone in any Korean or international form, or an e-mail address; both are stored in normal form."""

    system: Literal["phone", "email", "fax", "pager", "url", "sms", "other"] = "phone"
    value: Line
    use: Literal["mobile", "home", "work", "temp", "old"] | None = None
    raw: Line | None = None

    @model_validator(mode="after")
    def _normal(self) -> ContactPointIn:
        if self.system in ("phone", "sms", "fax"):
            try:
                value = normalise_phone(self.value)
            except BadValue:
                raise ValueError("not a phone number") from None
            if len(national_digits(value)) < 3:
                raise ValueError("not a phone number")
        elif self.system == "email":
            value = self.value.lower()
            if not _EMAIL.match(value):
                raise ValueError("not an e-mail address")
        else:
            value = self.value
        if value != self.value and self.raw is None:
            self.raw = self.value
        self.value = value
        self.model_fields_set.add("system")
        return self


class AddressIn(Body):
    """`text` is the whole address as people write it."""

    text: Line
    line: Annotated[list[Line], Field(max_length=5)] | None = None
    city: Line | None = None
    district: Line | None = None
    state: Line | None = None
    postalCode: Line | None = None  # noqa: N815 - the field's name in the model
    country: Line | None = None
    use: Line | None = None


class PatientPatch(Body):
    """Fields of a patient that a front-end sets; lists replace what stood, null deletes (RFC 7396)."""

    name: Annotated[list[HumanNameIn], Field(min_length=1, max_length=10)] | None = None
    telecom: Annotated[list[ContactPointIn], Field(max_length=20)] | None = None
    address: Annotated[list[AddressIn], Field(max_length=10)] | None = None
    birthDate: Day | None = None  # noqa: N815
    gender: Literal["male", "female", "other", "unknown"] | None = None
    language: Line | None = None
    maritalStatus: Line | None = None  # noqa: N815
    nationality: Line | None = None
    note: Note | None = None


class PatientIn(PatientPatch):
    """A prospect: somebody who has not been here yet. At least a name."""

    name: Annotated[list[HumanNameIn], Field(min_length=1, max_length=10)]
    identifier: Annotated[list[IdentifierIn], Field(max_length=10)] | None = None


class PartyIn(Body):
    """Who takes part: a reference, a number or a name."""

    reference: Line | None = None
    identifier: IdentifierIn | None = None
    name: Line | None = None
    role: Line | None = None


class AppointmentPatch(Body):
    """Fields of an appointment that a front-end changes; null deletes (RFC 7396)."""

    start: Moment | None = None
    end: Moment | None = None
    minutes: Annotated[int, Field(ge=1, le=1440)] | None = None
    reason: CodingIn | None = None
    type: CodingIn | None = None
    department: Line | None = None
    location: Line | None = None
    participant: Annotated[list[PartyIn], Field(max_length=10)] | None = None
    comment: Note | None = None

    @model_validator(mode="after")
    def _in_order(self) -> AppointmentPatch:
        if self.start and self.end and datetime.fromisoformat(self.end) <= datetime.fromisoformat(self.start):
            raise ValueError("end must come after start")
        return self


class AppointmentIn(AppointmentPatch):
    """A booking. It is pending until the system that owns the calendar confirms it."""

    start: Moment


class PatientSearch(Body):
    """All that is given must match. `identifier`: "assigner|value" or "value"; `phone`: whole, or its last 4 digits or more."""

    identifier: Annotated[str, Field(max_length=200)] = ""
    name: Annotated[str, Field(max_length=200)] = ""
    phone: Annotated[str, Field(max_length=40)] = ""
    birthDate: Annotated[str, Field(max_length=10)] = ""  # noqa: N815
    cursor: Annotated[str, Field(max_length=400)] = ""
    limit: Annotated[int, Field(ge=1, le=500)] = 50


class Reason(Body):
    """Why: stands in the audit log, so name no patient."""

    reason: Annotated[str, Field(min_length=3, max_length=200), AfterValidator(audit_reason)]


class CancelIn(Body):
    """Why an appointment is cancelled."""

    reason: Annotated[str, Field(max_length=200), AfterValidator(audit_reason)] = ""


class SettleIn(Reason):
    """`acted`: the target did act (the message is done), or did not (it is sent again)."""

    acted: bool


class TokenIn(Body):
    """A new token. Its secret is shown in the answer, this once."""

    name: Annotated[str, Field(min_length=1, max_length=60, pattern=r"^[A-Za-z0-9._-]+$")]
    role: Literal["crm", "operator", "auditor", "admin"]
    expiresAt: Moment | None = None  # noqa: N815
