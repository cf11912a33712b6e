"""IDocs as XML (SAP's XML file and XML HTTP ports): a root with the IDoc type's name, IDOC BEGIN="1", segments nested.

Only by defusedxml: no DTD, no entities, nothing fetched; elements, depth and text are counted while they are read, so that
nothing is built of what is too large. A field is an element without elements; a segment has SEGMENT, or elements in it.
"""

from __future__ import annotations

import io
import re
from collections.abc import Iterator
from xml.etree.ElementTree import Element, ParseError
from xml.sax.saxutils import escape

from defusedxml.common import DefusedXmlException
from defusedxml.ElementTree import iterparse

from hub.codecs.sap.idoc import MOST_BYTES, MOST_DEPTH, MOST_FIELDS, MOST_SEGMENTS, Idoc, Segment, trimmed
from hub.domain.errors import Unreadable

MOST_ELEMENTS = 500_000  # of one document
CONTROL = "EDI_DC40"
NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_.\-]{0,59}\Z")
NO_XML = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff\ufffe\uffff]")  # XML 1.0, 2.2
# Korean encodings that expat does not read by itself
_DECLARED = re.compile(
    rb"""\A(<\?xml[^>]{0,100}?)\sencoding=["']((?:euc-kr|cp949|ms949|ks_c_5601-1987|uhc))["']""", re.IGNORECASE
)


def read(data: bytes, most: int = MOST_BYTES) -> list[Idoc]:
    """All IDocs of a document. Raises Unreadable, which never holds a value."""
    if len(data) > most:
        raise Unreadable(f"more than {most} bytes", code="too_large")
    root: Element | None = None
    depth = count = 0
    try:
        parser = iterparse(io.BytesIO(_as_utf8(data)), events=("start", "end"), forbid_dtd=True)
        for event, element in parser:
            if event == "start":
                depth, count = depth + 1, count + 1
                root = element if root is None else root
                if depth > MOST_DEPTH + 4:
                    raise Unreadable(f"elements more than {MOST_DEPTH} deep", code="too_deep")
                if count > MOST_ELEMENTS:
                    raise Unreadable(f"more than {MOST_ELEMENTS} elements", code="too_large")
            else:
                depth -= 1
    except ParseError as error:
        line, column = error.position
        raise Unreadable(f"no well-formed XML, at line {line} column {column}", code="not_xml") from None
    except DefusedXmlException as error:
        raise Unreadable(f"XML with what no IDoc has: {type(error).__name__}", code="forbidden_xml") from None
    except (ValueError, LookupError):
        raise Unreadable("XML in an encoding that the hub does not read", code="charset") from None
    if root is None:
        raise Unreadable("no XML", code="not_xml")
    found = [_idoc(one, number) for number, one in enumerate((e for e in root if e.tag == "IDOC"), 1)]
    if not found:
        raise Unreadable("no IDOC below the root", code="no_idoc")
    return found


def _as_utf8(data: bytes) -> bytes:
    declared = _DECLARED.match(data)
    if declared is None:
        return data
    try:
        text = data[declared.end() :].decode("cp949")
    except UnicodeDecodeError:
        raise ValueError("not cp949") from None
    return declared.group(1) + text.encode()


def _idoc(element: Element, number: int) -> Idoc:
    control = element.find(CONTROL)
    if control is None:
        raise Unreadable(f"IDOC {number}: no control record EDI_DC40", code="no_control_record")
    idoc = Idoc(trimmed((child.tag, child.text or "") for child in control))
    total = 0

    def below(parent: Element) -> Iterator[Segment]:
        nonlocal total
        for child in parent:
            if child.tag == CONTROL or not _is_segment(child):
                continue
            total += 1
            if total > MOST_SEGMENTS:
                raise Unreadable(f"IDOC {number}: more than {MOST_SEGMENTS} segments", code="too_large")
            yield Segment(_name(child, number), _fields(child, number), list(below(child)))

    idoc.segments = list(below(element))
    return idoc


def _is_segment(element: Element) -> bool:
    return len(element) > 0 or "SEGMENT" in element.attrib


def _name(element: Element, number: int) -> str:
    if NAME.match(element.tag) is None:
        raise Unreadable(f"IDOC {number}: an element whose name is none of a segment or field", code="name")
    return element.tag


def _fields(segment: Element, number: int) -> dict[str, str]:
    plain = [child for child in segment if not _is_segment(child)]
    if len(plain) > MOST_FIELDS:
        raise Unreadable(f"IDOC {number}: more than {MOST_FIELDS} fields in a segment", code="too_large")
    return trimmed((_name(child, number), child.text or "") for child in plain)


def write(idocs: list[Idoc], root: str = "") -> bytes:
    """As SAP reads it, UTF-8. `root`: by default the IDoc type of the first. Raises Unreadable with code `charset` for a
    character that XML does not have."""
    name = root or idocs[0]["CIMTYP"] or idocs[0]["IDOCTYP"]
    parts = ['<?xml version="1.0" encoding="UTF-8"?>', f"<{name}>"]
    for idoc in idocs:
        parts.append('<IDOC BEGIN="1">')
        _write(parts, Segment(CONTROL, {"TABNAM": CONTROL, **idoc.control}))
        for one in idoc.segments:
            _write(parts, one)
        parts.append("</IDOC>")
    parts.append(f"</{name}>")
    return "".join(parts).encode()


def _write(parts: list[str], segment: Segment) -> None:
    parts.append(f'<{segment.name} SEGMENT="1">')
    for name, value in segment.fields.items():
        if NO_XML.search(value):
            raise Unreadable(f"{segment.name}-{name}: a character that XML does not have", code="charset")
        parts.append(f"<{name}>{escape(value)}</{name}>")
    for child in segment.children:
        _write(parts, child)
    parts.append(f"</{segment.name}>")
