"""The map language and its engine: what a message means, as data. See docs/mapping.md.

`load_maps` compiles the shipped maps and a site's overlays once; `MapSet.map` makes facts of one message.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hub.codecs.hl7v2 import Message
from hub.domain.errors import Unmappable
from hub.domain.facts import Key, Mapped
from hub.mapping.codes import CodeMap, read_codes
from hub.mapping.engine import Context, Engine
from hub.mapping.explain import explain
from hub.mapping.fhir_keys import Names
from hub.mapping.fhir_source import FhirEngine
from hub.mapping.language import read_maps
from hub.mapping.row_out import is_outbound
from hub.mapping.row_source import RowEngine
from hub.mapping.spec import Maps
from hub.mapping.withheld import without_values

SHIPPED = Path(__file__).parent
ENGINES: dict[str, Callable[[Maps, Mapping[str, CodeMap], str], Engine]] = {
    "hl7v2": Engine, "row": RowEngine, "fhir": FhirEngine,
}  # fmt: skip

__all__ = ["Context", "MapSet", "load_maps"]


@dataclass(slots=True)
class MapSet:
    """Compiled maps. `version` is the content hash of all their files, `texts` those files by name. Thread-safe."""

    version: str
    texts: dict[str, str]
    _engines: dict[str, Engine]

    def handles(self, event: str) -> bool:
        """Whether there is a map for that event (`ADT^A08`) or table."""
        return any(event in engine.events for engine in self._engines.values())

    def handles_row(self, event: str) -> bool:
        """Whether there is a map for rows of that name."""
        return "row" in self._engines and event in self._engines["row"].events

    def events(self) -> list[tuple[str, str]]:
        """Every event with its title, sorted."""
        return sorted((name, event.event.title) for engine in self._engines.values() for name, event in engine.events.items())

    def map(self, message: Message, context: Context, *, apart: bool = False) -> Mapped:
        """Facts of one HL7 v2 message. Raises Unmappable (reason and field, never a value).

        `apart`: the patient's part may be left unmapped, as Mapped.part.
        """
        return self._engines["hl7v2"].map(message, context, apart=apart)

    def map_row(self, table: str, row: Mapping[str, Any], context: Context) -> Mapped:
        """Facts of one row of a table or view; `table` is the event's name in the map. Raises Unmappable."""
        engine = self._rows()
        if engine is None:
            raise Unmappable(f"no map for table {table}", code="no_map")
        return engine.map_row(table, row, context)

    def explain_row(self, table: str, row: Mapping[str, Any], context: Context) -> list[dict[str, Any]]:
        """As `explain`, of one row."""
        engine = self._rows()
        return engine.explain(table, row, context) if engine is not None else []

    def _rows(self) -> RowEngine | None:
        engine = self._engines.get("row")
        return engine if isinstance(engine, RowEngine) else None

    def handles_fhir(self, event: str) -> bool:
        """Whether there is a map for that resource type (`Encounter`, `Encounter.deleted`)."""
        return "fhir" in self._engines and event in self._engines["fhir"].events

    def map_fhir(self, document: Mapping[str, Any], context: Context, names: Names | None = None) -> Mapped:
        """Facts of one FHIR resource. `names`: how its server names things; by default as the context says. Raises Unmappable."""
        engine = self._engines.get("fhir")
        if not isinstance(engine, FhirEngine):
            raise Unmappable("no map for FHIR resources", code="no_map")
        return engine.map_resource(document, context, names or Names(context.assigner, context.system))

    def explain_fhir(self, document: Mapping[str, Any], context: Context, names: Names | None = None) -> list[dict[str, Any]]:
        """As `explain`, of one FHIR resource."""
        engine = self._engines.get("fhir")
        if not isinstance(engine, FhirEngine):
            return []
        return engine.explain(document, context, names or Names(context.assigner, context.system))

    def row_patient(self, table: str, row: Mapping[str, Any], context: Context) -> Key | None:
        """Whose row it is, for lane and search; None where no map says so."""
        engine = self._rows()
        return engine.row_patient(table, row, context) if engine is not None and table in engine.events else None

    def row_keys(self, table: str) -> dict[str, tuple[str, ...]]:
        """Kind -> columns that its number is read from, of every kind that a row of this table tells of."""
        engine = self._rows()
        return engine.key_columns(table) if engine is not None and table in engine.events else {}

    def explain(self, message: Message, context: Context) -> list[dict[str, Any]]:
        """What `hub map try` shows: one row per rule: path, present, to, result, function, fact, warning. Holds patient data."""
        return explain(self._engines["hl7v2"], message, context)


def load_maps(overlay_dirs: Sequence[Path] = (), *, result_values: bool = False) -> MapSet:
    """The shipped maps with the site's folders of `*.toml` laid over them (value maps: their `codes/*.csv`).

    `result_values`: whether what they read of a result's value is kept.

    Raises Misconfigured naming the file, the line, what is wrong and what to write instead.
    """
    folders = [SHIPPED / "maps", *overlay_dirs]
    files = [{path.name: path.read_text(encoding="utf-8") for path in sorted(folder.glob("*.toml"))} for folder in folders]
    layers = [{name: text for name, text in found.items() if not is_outbound(text)} for found in files]
    codes, code_texts = read_codes([SHIPPED / "codes", *(folder / "codes" for folder in overlay_dirs)])
    texts: dict[str, str] = {}
    digest = hashlib.sha256()
    for at, layer in enumerate(layers):
        for name, text in layer.items():
            texts[name if not at else f"overlay{at}/{name}"] = text
    for name, text in [*texts.items(), *sorted(code_texts.items())]:
        digest.update(f"{name}\0{text}\0".encode())
    if result_values:
        digest.update(b"result values")
    version = digest.hexdigest()[:16]
    made = [maps if result_values else without_values(maps) for maps in read_maps(layers, codes)]
    engines: dict[str, Engine] = {maps.source: ENGINES[maps.source](maps, codes, version) for maps in made}
    return MapSet(version, texts, engines)
