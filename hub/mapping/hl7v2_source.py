"""What the engine sees of an HL7 message: its event, its time, its groups (`each = "PID"`) and the items of a block."""

from __future__ import annotations

from collections.abc import Iterator

from hub.codecs.hl7v2 import Message
from hub.domain.errors import Unmappable
from hub.mapping.compile import Group
from hub.mapping.functions import NULL, Reader
from hub.mapping.spec import ITEM, Block
from hub.mapping.times import BadValue, micros

Segments = list[tuple[str, list[str]]]


def event_of(message: Message) -> str:
    """`ADT^A08`: MSH-9.1 and MSH-9.2, EVN-1 where the second is missing. MSH-9 wins over EVN-1 where they differ.

    HL7 v2.5.1 §3.4.1.1 keeps EVN-1 for backward compatibility only. What is no letter or digit (a soft hyphen) is dropped.
    """
    header = message.segments[0]
    code, trigger = header.value(9) or "", header.value(9, 1, 2) or ""
    if not trigger:
        evn = message.first("EVN")
        trigger = (evn.value(1) or "") if evn else ""
    text = f"{code}^{trigger}" if trigger else code
    if text.isascii() and " " not in text:
        return text
    return "".join(c for c in text if c == "^" or (c.isascii() and (c.isalnum() or c == "_")))


def event_at(message: Message, reader: Reader, received_at: int) -> int:
    """µs since 1970 UTC of EVN-2, else MSH-7, else the arrival. A time without its hour says too little to order by."""
    evn = message.first("EVN")
    for segment, field in ((evn, 2), (message.segments[0], 7)):
        if segment is None:
            continue
        text = segment.raw(field)
        if len(text) > 14:
            text = segment.value(field) or ""
        if not text or text == NULL:
            continue
        try:
            if len(text) >= 10:
                return micros(text, reader.zone)
        except BadValue as bad:
            reader.warn(f"{segment.name}-{field}", bad.code)
    return received_at


def segments_by_name(message: Message) -> Group:
    """Name -> occurrences, each the raw fields."""
    group: Group = {}
    for segment in message.segments:
        found = group.get(segment.name)
        if found is None:
            group[segment.name] = [segment.fields]
        else:
            found.append(segment.fields)
    return group


def groups_of(message: Message, each: str | None) -> Iterator[tuple[Group, Segments]]:
    """The whole message, or with `each` one group for each such segment: what stands before the first one, and the segment
    with all that follows it up to the next. Raises Unmappable where the message has no such segment.
    """
    group = segments_by_name(message)
    segments = [(segment.name, segment.fields) for segment in message.segments]
    if each is None:
        yield group, segments
        return
    found = group.get(each)
    if found is None:
        raise Unmappable(f"the message has no {each} segment", where=each, code="no_segment")
    if len(found) == 1:
        yield group, segments
        return
    starts = [at for at, (name, _) in enumerate(segments) if name == each]
    header = segments[: starts[0]]
    for start, end in zip(starts, [*starts[1:], len(segments)], strict=True):
        part = header + segments[start:end]
        yield _grouped(part), part


def _grouped(segments: Segments) -> Group:
    group: Group = {}
    for name, fields in segments:
        group.setdefault(name, []).append(fields)
    return group


def items_of(block: Block, group: Group, segments: Segments, local: bool, reader: Reader) -> Iterator[tuple[Group, str]]:
    """The items of a block's `each`, in order: segments (with those that belong to them), or repetitions of fields as `*`.

    `local`: the block looks at nothing else, so the item alone is enough.
    """
    for path in block.each:
        if not path.field and path.segment != ITEM:
            if local:
                for fields in group.get(path.segment, ()):
                    yield {path.segment: [fields]}, ""
            elif block.within is None and len(found := group.get(path.segment, ())) < 2 and "," not in path.segment:
                if found:
                    yield group, ""  # the only one: all that there is belongs to it or stands before it
            elif not any(name in group for name in path.segment.split(",")):
                continue
            elif block.within is None:
                common = [one for one in segments if one[0] in block.common] if block.common & group.keys() else []
                for header, own in _following(path.segment, [], segments):
                    yield _grouped([*header, *(one for one in own if one not in common), *common]), ""
            else:
                names = block.within.segment.split(",")
                for header, own in _following(block.within.segment, [], segments):
                    heads = [one for one in own if one[0] in names]  # an OBR behind the first OBX is that of all of them
                    for outer, inner in _following(path.segment, header, own):
                        rest = [one for one in (*outer, *inner) if one[0] not in names]
                        yield _grouped(heads + rest), ""
            continue
        for fields in group.get(path.segment, ()):
            if path.field >= len(fields) or not fields[path.field] or fields[path.field] == NULL:
                continue
            for rep in fields[path.field].split(reader.repetition):
                if rep and rep != NULL:
                    item: Group = {ITEM: [[rep]]}
                    yield (item if local else {**group, **item}), path.text


def _following(names: str, header: Segments, segments: Segments) -> Iterator[tuple[Segments, Segments]]:
    """Each such segment with what follows it up to the next; and what stands before the first one, behind `header`.

    Of several names (ORC,OBR) an item begins at each that does not come after an earlier one of the same item. What is
    named so and stands in the header (an OBX of the patient) is no part of an item.
    """
    ranks = {name: rank for rank, name in enumerate(names.split(","))}
    starts: list[int] = []
    last = 0
    for at, (segment, _) in enumerate(segments):
        rank = ranks.get(segment)
        if rank is not None:
            if not starts or rank <= last:
                starts.append(at)
            last = rank
    if not starts:
        return
    before = [one for one in header if one[0] not in ranks] + segments[: starts[0]]
    for start, end in zip(starts, [*starts[1:], len(segments)], strict=True):
        yield before, segments[start:end]
