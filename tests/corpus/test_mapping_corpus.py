"""Every message of the corpus that is complete and of an event with a map is mapped; the rest has a reason to act on."""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from hub.codecs.hl7v2 import Message, parse
from hub.domain.errors import Unmappable, Unreadable
from hub.domain.facts import Mapped
from hub.mapping import Context, load_maps
from hub.mapping.hl7v2_source import event_of

ROOT = Path(__file__).resolve().parents[2]
CORPUS = Path(os.environ.get("HUB_CORPUS") or ROOT.parent / "shared" / "corpus") / "hl7v2"
MAPS = load_maps()
CONTEXT = Context("HOSP", "ocs", "Asia/Seoul", 1)
EXPLAINED = {  # what is not mapped, and what a person can do about it
    "MRG-3: no number for the prior of the merge": "A41 merges accounts and this one carries none: ask the sender for MRG-3",
    "MRG-1: no number for the from patient of the move": "A45 moves a visit from a patient whom it does not name: ask for MRG-1",
}

pytestmark = [pytest.mark.corpus, pytest.mark.skipif(not CORPUS.is_dir(), reason="no corpus: set HUB_CORPUS")]


def bodies(data: bytes) -> Iterator[bytes]:
    """The messages of a file: several may follow one another."""
    data = data.replace(b"\r\n", b"\r").replace(b"\n", b"\r")
    starts = [match.end() for match in re.finditer(rb"(?:\A|\r)(?:\xef\xbb\xbf)?[ \x0b]*(?=MSH[^A-Za-z0-9])", data)]
    for start, end in zip(starts, [*starts[1:], len(data)], strict=False):
        yield data[start:end].strip(b"\r\x0b\x1c")


def eligible() -> Iterator[tuple[str, Message]]:
    for path in sorted(CORPUS.rglob("*")):
        for body in bodies(path.read_bytes()) if path.is_file() else ():
            try:
                message = parse(body)
            except Unreadable:
                continue
            header, pid = message.segments[0], message.first("PID")
            complete = header.value(10) and header.value(12) and pid is not None and pid.raw(3)
            if complete and MAPS.handles(event_of(message)):
                yield str(path.relative_to(CORPUS)), message


def test_at_least_98_of_100_are_mapped_and_each_other_one_has_a_reason(capsys: pytest.CaptureFixture[str]) -> None:
    done, reasons = 0, Counter[str]()
    warnings = Counter[str]()
    for name, message in eligible():
        try:
            mapped = MAPS.map(message, CONTEXT)
        except Unmappable as error:
            reasons[str(error)] += 1
            print(f"{name}: {error}")
            continue
        assert isinstance(mapped, Mapped)
        assert mapped.facts, name
        warnings.update(mapped.warnings)
        done += 1
    with capsys.disabled():
        print(f"\n{done} of {done + reasons.total()} messages mapped")
        for reason, count in reasons.most_common():
            print(f"{count:5d}  {reason}  ({EXPLAINED.get(reason, 'NOT EXPLAINED')})")
        print("left out, with a warning:", ", ".join(f"{note} {count}" for note, count in warnings.most_common(12)))
    assert done + reasons.total() > 250
    assert done / (done + reasons.total()) >= 0.98
    assert set(reasons) <= set(EXPLAINED)


def test_explain_works_on_every_one_of_them() -> None:
    for name, message in eligible():
        try:
            MAPS.map(message, CONTEXT)
        except Unmappable:
            continue
        rows = MAPS.explain(message, CONTEXT)
        assert any(row["present"] for row in rows), name


def test_the_a40_with_two_pairs_is_two_merges() -> None:
    """The corpus has one on purpose."""
    pairs = [
        (len(message.all("MRG")), sum(type(fact).__name__ == "Merge" for fact in MAPS.map(message, CONTEXT).facts))
        for _, message in eligible()
        if event_of(message) == "ADT^A40"
    ]
    assert (2, 2) in pairs
    assert all(segments <= merges for segments, merges in pairs)
