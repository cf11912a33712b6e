"""The FHIR R4 read façade at /fhir/R4: the canonical model as a CRM that speaks FHIR reads it."""
