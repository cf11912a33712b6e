"""DICOM: bytes <-> rows of keywords; no sockets, no clock, no pixels. pydicom's door, for the standard's dictionary."""
