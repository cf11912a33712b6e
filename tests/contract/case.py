"""The suite's own words, shipped with the hub (hub/testing), for the cases of this folder."""

from hub.testing.case import CANARIES, EXPECTED, NUMBER, Case, Expect, patient, patient_updated

__all__ = ["CANARIES", "EXPECTED", "NUMBER", "Case", "Expect", "patient", "patient_updated"]
