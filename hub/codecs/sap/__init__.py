"""SAP's formats: OData V2 (odata.py)."""
