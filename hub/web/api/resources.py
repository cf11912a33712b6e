"""How each kind that is read in one way is called in /api/v1: one table for what belongs to a patient and for master data."""

from __future__ import annotations

from typing import NamedTuple

from hub.domain.model import Kind


class Resource(NamedTuple):
    """How a kind is called in paths, and in words."""

    path: str
    kind: Kind
    one: str
    listed: str = ""  # master data, of no patient: what its list is

    @property
    def owned(self) -> bool:
        """Whether a patient has it."""
        return not self.listed


RESOURCES = (
    Resource("orders", "ServiceRequest", "an order or a referral"),
    Resource("results", "DiagnosticReport", "a result"),
    Resource("observations", "Observation", "one value of a result, with its flag"),
    Resource("medications", "MedicationRequest", "a prescription"),
    Resource("conditions", "Condition", "a diagnosis"),
    Resource("procedures", "Procedure", "a procedure"),
    Resource("allergies", "AllergyIntolerance", "an allergy"),
    Resource("documents", "DocumentReference", "a document"),
    Resource("imaging-studies", "ImagingStudy", "an imaging study"),
    Resource("charges", "ChargeItem", "a line of a bill"),
    Resource("invoices", "Invoice", "a bill"),
    Resource("payments", "Payment", "a payment"),
    Resource("accounts", "Account", "an account"),
    Resource("practitioners", "Practitioner", "a practitioner", "Practitioners, by number"),
    Resource("organizations", "Organization", "an insurer or a department", "Departments (type `dept`) and insurers, by number"),
    Resource("catalogue", "ChargeItemDefinition", "a line of the catalogue of charges", "The catalogue of charges, by code"),
    Resource("schedules", "Schedule", "a calendar that slots are in", "Calendars, by number"),
    Resource(
        "slots", "Slot", "a time that can be booked or is closed", "Times that can be booked or are closed, the earliest first"
    ),
    Resource("locations", "Location", "a ward, a room or a bed", "Wards, rooms and beds, by number"),
    Resource(
        "tests", "ObservationDefinition", "what a laboratory can be asked for", "What laboratories can be asked for, by code"
    ),
)
