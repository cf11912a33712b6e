"""The log as a file for an auditor: JSON Lines, readable without this program; and verifying it offline.

Lines, by `type`: `log` (first), `tile` followed by its `entry` lines, `tail` followed by entries not signed yet,
`checkpoint` (the database's), `note` (the checkpoint file's). docs/audit.md holds the format and a verifier of 40 lines.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import orjson

from hub.audit.checkpoint import BadNote, Verifier
from hub.audit.entry import EntryRow
from hub.audit.file import CheckpointFile
from hub.audit.report import Report
from hub.audit.sequencer import pack_ids, unpack_ids
from hub.audit.verify import Rows, Stored, Tile, verify

FORMAT = 1
_TAIL_PAGE = 5_000


def write(
    path: Path,
    groups: Iterable[tuple[Tile | None, Rows]],
    notes: Iterable[str],
    stored: Iterable[Stored],
    public_key: Verifier,
    progress: Callable[[int], None] | None = None,
) -> int:
    """Write the file anew; returns the number of entries."""
    count, tail = 0, False
    with path.open("wb") as file:
        file.write(_line("log", format=FORMAT, public_key=str(public_key)))
        for tile, rows in groups:
            if tile is not None:
                file.write(_line("tile", first=tile.first, count=tile.count, ids=unpack_ids(tile.ids), hashes=tile.hashes.hex()))
            elif not tail:
                tail = True
                file.write(_line("tail"))
            file.writelines(_line("entry", **EntryRow(*row)._asdict()) for row in rows)
            count += len(rows)
            if progress is not None:
                progress(count)
        for row in stored:
            file.write(_line("checkpoint", size=row.size, root=row.root.hex(), frontier=row.frontier.hex(), note=row.note))
        for note in notes:
            file.write(_line("note", note=note))
    return count


def verify_export(path: Path, checkpoint_file: Path | None = None, public_key: str | None = None) -> Report:
    """Check an export offline. An auditor brings the checkpoint file, or a copy of it, and the public key from elsewhere;
    without them those in the export are taken, which show alterations but not that the end was cut off before the export.
    ValueError (BadNote) where the file is no export."""
    if public_key is None:
        public_key = str(next(_items(path, "log"), {}).get("public_key", ""))
    verifier = Verifier.parse(public_key)
    if checkpoint_file is None:
        notes: Iterable[str] = (str(item["note"]) for item in _items(path, "note"))
    else:
        notes = CheckpointFile(checkpoint_file).notes()
    return verify(_groups(path), notes, _stored(path), verifier)


def _groups(path: Path) -> Iterator[tuple[Tile | None, Rows]]:
    tile: Tile | None = None
    rows: list[tuple[Any, ...]] = []
    for item in _items(path, "tile", "tail", "entry"):
        if item["type"] == "entry":
            rows.append(tuple(item[name] for name in EntryRow._fields))
            if tile is not None or len(rows) < _TAIL_PAGE:
                continue
        if tile is not None or rows:
            yield tile, rows
        rows = []
        if item["type"] != "entry":
            tile = _tile(item) if item["type"] == "tile" else None
    if tile is not None or rows:
        yield tile, rows


def _tile(item: dict[str, Any]) -> Tile:
    return Tile(item["first"], item["count"], pack_ids(item["ids"]), bytes.fromhex(item["hashes"]))


def _stored(path: Path) -> Iterator[Stored]:
    for item in _items(path, "checkpoint"):
        yield Stored(item["size"], bytes.fromhex(item["root"]), bytes.fromhex(item["frontier"]), item["note"])


def _items(path: Path, *types: str) -> Iterator[dict[str, Any]]:
    """The lines of these types, in order."""
    wanted = tuple(f'{{"type":"{name}"'.encode() for name in types)
    with path.open("rb") as file:
        for n, line in enumerate(file, 1):
            if line.startswith(wanted):
                try:
                    item = orjson.loads(line)
                except orjson.JSONDecodeError:
                    raise BadNote(f"line {n} of the export is not JSON") from None
                yield item


def _line(kind: str, **values: Any) -> bytes:
    try:
        return orjson.dumps({"type": kind, **values}, option=orjson.OPT_APPEND_NEWLINE)
    except TypeError:  # a tampered SQLite file holds any type anywhere: shown as it is, so that its hash differs
        shown = {name: value if isinstance(value, int | None) else ascii(value) for name, value in values.items()}
        return orjson.dumps({"type": kind, **shown}, option=orjson.OPT_APPEND_NEWLINE)
