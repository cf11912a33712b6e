"""Unique identifiers (PS3.5 section 9): checked before anything is done with one. A UID is text, never part of a path."""

from __future__ import annotations

import re

_DIGITS = re.compile(r"[0-9]+(?:\.[0-9]+)*")
LONGEST = 64

IMPLICIT_LITTLE = "1.2.840.10008.1.2"
EXPLICIT_LITTLE = "1.2.840.10008.1.2.1"
DEFLATED_LITTLE = "1.2.840.10008.1.2.1.99"
EXPLICIT_BIG = "1.2.840.10008.1.2.2"
DEFLATED = frozenset({DEFLATED_LITTLE, "1.2.840.10008.1.2.4.95"})  # the second: JPIP Referenced Deflate


def is_uid(text: str) -> bool:
    """Whether it may be taken: at most 64 characters, digits and dots. Zeros before a component's number, which section 9.1
    forbids and old modalities write, are taken: such a UID names what it names."""
    return 0 < len(text) <= LONGEST and _DIGITS.fullmatch(text) is not None
