"""Hospital Hub: one canonical patient-relationship model between OCS, EMR, ERP, PACS and CRM."""

__version__ = "0.1.0"
