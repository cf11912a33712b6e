"""A service's description of itself: `$metadata` (EDMX, OData V2) -> entity sets, properties, navigation.

Sources: "Conceptual Schema Definition File Format" 2.0 (EntityType, Property, NavigationProperty, Association), SAP's annotations
for OData V2 (sap:creatable, sap:updatable, which default to true). Only by defusedxml, and without a tree: no DTD, no entities,
bounded in bytes and names, so that whatever comes costs little.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple
from xml.etree.ElementTree import ParseError

from defusedxml.common import DefusedXmlException
from defusedxml.ElementTree import DefusedXMLParser

from hub.domain.errors import Unreadable

MOST_BYTES = 8 << 20  # API_BUSINESS_PARTNER of a new release has less than half a megabyte
MOST_NAMES = 50_000  # properties, navigation, sets and types of one service
MOST_DEPTH = 64
_SAP = "{http://www.sap.com/Protocols/SAPData}"


class Property(NamedTuple):
    """`length`: MaxLength, None where it says none; `writable`: may be given when created, may be changed."""

    type: str
    length: int | None
    nullable: bool
    creatable: bool
    updatable: bool


@dataclass(slots=True)
class EntityType:
    """`navigation`: name -> (type that it leads to, whether to many)."""

    key: list[str] = field(default_factory=list)
    properties: dict[str, Property] = field(default_factory=dict)
    navigation: dict[str, tuple[str, bool]] = field(default_factory=dict)
    base: str = ""


@dataclass(slots=True)
class Service:
    """`sets`: entity set -> the qualified name of its type."""

    sets: dict[str, str] = field(default_factory=dict)
    types: dict[str, EntityType] = field(default_factory=dict)

    def type_of(self, entity_set: str) -> EntityType | None:
        return self.types.get(self.sets.get(entity_set, ""))


def read(data: bytes) -> Service:
    """A `$metadata` document. Raises Unreadable."""
    if len(data) > MOST_BYTES:
        raise Unreadable(f"$metadata of more than {MOST_BYTES} bytes", code="too_large")
    found = _Reader()
    parser: Any = DefusedXMLParser(target=found, forbid_dtd=True)
    try:
        parser.feed(data)
        parser.close()
    except ParseError as error:
        line, column = error.position
        raise Unreadable(f"$metadata is no well-formed XML, at line {line} column {column}", code="not_xml") from None
    except DefusedXmlException as error:
        raise Unreadable(f"$metadata with what no description has: {type(error).__name__}", code="forbidden_xml") from None
    except (ValueError, LookupError):
        raise Unreadable("$metadata in an encoding that the hub does not read", code="charset") from None
    return found.service()


class _Reader:
    """The parser's target: keeps what is asked about, and counts."""

    def __init__(self) -> None:
        self._service = Service()
        self._ends: dict[str, dict[str, tuple[str, bool]]] = {}  # association -> role -> (type, many)
        self._links: list[tuple[EntityType, str, str, str]] = []  # type, navigation, association, role
        self._namespace = ""
        self._type: EntityType | None = None
        self._roles: dict[str, tuple[str, bool]] = {}  # of the association that is being read
        self._path: list[str] = []
        self._names = 0
        self._handlers: dict[str, Callable[[Mapping[str, str]], None]] = {
            "Schema": self._schema, "EntityType": self._entity_type, "ComplexType": self._complex_type, "PropertyRef": self._key,
            "Property": self._property, "NavigationProperty": self._navigation, "Association": self._association,
            "End": self._end, "EntitySet": self._entity_set,
        }  # fmt: skip

    def start(self, tag: str, attributes: Mapping[str, str]) -> None:
        name = tag.rpartition("}")[2]
        self._path.append(name)
        if len(self._path) > MOST_DEPTH:
            raise Unreadable(f"$metadata nested deeper than {MOST_DEPTH}", code="too_deep")
        handler = self._handlers.get(name)
        if handler is not None:
            self._names += 1
            if self._names > MOST_NAMES:
                raise Unreadable(f"$metadata with more than {MOST_NAMES} names", code="too_large")
            handler(attributes)

    def end(self, tag: str) -> None:
        name = tag.rpartition("}")[2]
        self._path.pop()
        if name in ("EntityType", "ComplexType"):
            self._type = None

    def data(self, text: str) -> None:
        """Texts say nothing here."""

    def close(self) -> None:
        """Whatever is there was read."""

    def _schema(self, attributes: Mapping[str, str]) -> None:
        self._namespace = attributes.get("Namespace", "")

    def _entity_type(self, attributes: Mapping[str, str]) -> None:
        self._type = EntityType(base=attributes.get("BaseType", ""))
        self._service.types[f"{self._namespace}.{attributes.get('Name', '')}"] = self._type

    def _complex_type(self, _attributes: Mapping[str, str]) -> None:
        self._type = None  # its properties are nobody's that is asked about

    def _key(self, attributes: Mapping[str, str]) -> None:
        if self._type is not None and "Key" in self._path:
            self._type.key.append(attributes.get("Name", ""))

    def _property(self, attributes: Mapping[str, str]) -> None:
        if self._type is None:
            return
        length = attributes.get("MaxLength", "")
        self._type.properties[attributes.get("Name", "")] = Property(
            attributes.get("Type", ""),
            int(length) if length.isascii() and length.isdigit() and len(length) < 10 else None,
            attributes.get("Nullable", "true") != "false",
            attributes.get(f"{_SAP}creatable", "true") != "false",
            attributes.get(f"{_SAP}updatable", "true") != "false",
        )

    def _navigation(self, attributes: Mapping[str, str]) -> None:
        if self._type is not None:
            link = (attributes.get("Name", ""), attributes.get("Relationship", ""), attributes.get("ToRole", ""))
            self._links.append((self._type, *link))

    def _association(self, attributes: Mapping[str, str]) -> None:
        self._ends[f"{self._namespace}.{attributes.get('Name', '')}"] = self._roles = {}

    def _end(self, attributes: Mapping[str, str]) -> None:
        if "Association" in self._path:
            self._roles[attributes.get("Role", "")] = (attributes.get("Type", ""), attributes.get("Multiplicity", "1") == "*")

    def _entity_set(self, attributes: Mapping[str, str]) -> None:
        self._service.sets[attributes.get("Name", "")] = attributes.get("EntityType", "")

    def service(self) -> Service:
        """All that was read. Raises Unreadable where that is no service."""
        if not self._service.sets:
            raise Unreadable("no $metadata of an OData V2 service: it has no entity set", code="not_edmx")
        for owner, name, association, role in self._links:
            owner.navigation[name] = self._ends.get(association, {}).get(role, ("", True))
        for one in self._service.types.values():
            self._inherit(one)
        return self._service

    def _inherit(self, one: EntityType) -> None:
        base, seen = one.base, set[str]()
        while base and base not in seen and base in self._service.types:
            seen.add(base)
            parent = self._service.types[base]
            one.key = one.key or parent.key
            one.properties = {**parent.properties, **one.properties}
            one.navigation = {**parent.navigation, **one.navigation}
            base = parent.base
