"""PACS: its door (DICOM, DICOMweb) is not opened yet; see the README's table of what is connected."""
