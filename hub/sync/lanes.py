"""Lanes: the ordering key of a message, and the fixed hash partition (bucket) that workers lease."""

from __future__ import annotations

from zlib import crc32

from hub.domain.facts import Key

CHANNEL_LANE = "in:#"


def inbound_lane(channel: str, patient: Key | None) -> str:
    """One lane a patient number, whichever channel tells of it; what names no patient is in its channel's lane."""
    return f"in:{patient.assigner}|{patient.value}" if patient else f"{CHANNEL_LANE}{channel}"


def outbound_lane(channel: str, owner: str) -> str:
    """One lane a canonical patient and target channel; `owner` is the patient's id, or the resource's where it has none."""
    return f"out:{channel}:{owner}"


def bucket_of(lane: str, buckets: int) -> int:
    """Which partition a lane is in: the same for every process (hash() is salted)."""
    return crc32(lane.encode()) % buckets


def buckets_for(dialect: str) -> int:
    """SQLite has one writer, so one partition, whose batches are the fullest; PostgreSQL has several workers."""
    return 1 if dialect == "sqlite" else 8
