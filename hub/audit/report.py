"""What verifying the log found: findings that name an entry or a narrow range, and what is not covered yet."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any


class Kind(StrEnum):
    """What is wrong."""

    EDITED = "edited"  # this entry says something else than when it was signed
    DELETED = "deleted"  # an entry that was signed is gone
    INSERTED = "inserted"  # an entry stands among signed ones that was not there
    REORDERED = "reordered"  # a signed entry stands in another place
    TRUNCATED = "truncated"  # the log's end is gone, though it was signed
    ALTERED = "altered"  # one of the above, hidden by rewriting hashes: the range is known, the act is not
    TILE_ALTERED = "tile_altered"  # the stored hashes are wrong or gone, the entries themselves are as signed
    CHECKPOINT_MISSING = "checkpoint_missing"  # in the file and not in the database, or the other way round
    CHECKPOINT_ALTERED = "checkpoint_altered"  # the database's row differs from the file, or two contradict each other
    CHECKPOINT_BAD_SIGNATURE = "checkpoint_bad_signature"  # not signed by this log's key


@dataclass(frozen=True, slots=True)
class Finding:
    """`leaf`…`last_leaf`: places in the log, from 0, both inclusive; `entry_id`…`last_entry_id`: entries, where known."""

    kind: Kind
    text: str
    leaf: int | None = None
    last_leaf: int | None = None
    entry_id: int | None = None
    last_entry_id: int | None = None

    def __str__(self) -> str:
        entries = _range(", entry", self.entry_id, self.last_entry_id)
        return f"{self.kind}: {self.text}{entries}{_range(', leaf', self.leaf, self.last_leaf)}"


@dataclass(slots=True)
class Report:
    """The result. `covered`: entries up to the last checkpoint of the file; `tail`: those after it, `tail_since` when the
    first of them was written (µs UTC). A tail is no finding: it is signed with the next checkpoint."""

    findings: list[Finding] = field(default_factory=list)
    covered: int = 0
    checkpoints: int = 0
    tail: int = 0
    tail_since: int | None = None

    @property
    def ok(self) -> bool:
        """Nothing was altered, as far as checkpoints reach."""
        return not self.findings

    def as_dict(self) -> dict[str, Any]:
        """For `--json`."""
        findings = [
            {
                "kind": str(f.kind), "text": f.text, "entry_id": f.entry_id, "last_entry_id": f.last_entry_id,
                "leaf": f.leaf, "last_leaf": f.last_leaf,
            }
            for f in self.findings
        ]  # fmt: skip
        return {
            "ok": self.ok, "covered": self.covered, "checkpoints": self.checkpoints, "tail": self.tail,
            "tail_since": self.tail_since, "findings": findings,
        }  # fmt: skip


def merged(findings: Iterable[Finding]) -> list[Finding]:
    """Findings in the log's order, neighbours of one kind made one, so that a thousand deletions are one line."""
    out: list[Finding] = []
    for new in sorted(findings, key=lambda f: (f.leaf is None, f.leaf or 0, f.kind)):
        last = out[-1] if out else None
        same = last is not None and last.kind == new.kind and last.text == new.text and new.leaf is not None
        if same and last is not None and last.last_leaf is not None and new.leaf is not None and new.leaf <= last.last_leaf + 1:
            out[-1] = replace(last, last_leaf=new.last_leaf, last_entry_id=new.last_entry_id)
        else:
            out.append(new)
    return out


def _range(what: str, first: int | None, last: int | None) -> str:
    if first is None:
        return ""
    return f"{what} {first}" if last in (None, first) else f"{what} {first} to {last}"
