"""Relationship services: what the front office means, as facts of the system `crm`."""
