"""Metrics: every series that the hub exports, in one registry. Labels are channel names, states and roles only."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

REGISTRY = CollectorRegistry(auto_describe=True)

_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)

RECEIVED = Counter("hub_received", "Messages stored at intake", ["channel"], registry=REGISTRY)
REFUSED = Counter("hub_refused", "Messages refused at intake; their bytes are kept", ["channel"], registry=REGISTRY)
DUPLICATES = Counter("hub_duplicates", "Messages that came again and got their stored answer", ["channel"], registry=REGISTRY)
TRY_AGAIN = Counter(
    "hub_try_again", "Messages turned away because the store is down, busy or full", ["channel"], registry=REGISTRY
)
INTAKE_SECONDS = Histogram(
    "hub_intake_seconds", "From the last byte of a message to its commit", ["channel"], buckets=_SECONDS, registry=REGISTRY
)
APPLIED = Counter("hub_applied", "Inbound messages that are done", ["channel", "outcome"], registry=REGISTRY)
APPLY_SECONDS = Histogram("hub_apply_batch_seconds", "One apply transaction", buckets=_SECONDS, registry=REGISTRY)
DELIVERED = Counter("hub_delivered", "Outbound messages that the target confirmed", ["channel"], registry=REGISTRY)
ATTEMPTS = Counter("hub_attempts", "Attempts to deliver, by verdict", ["channel", "verdict"], registry=REGISTRY)
DELIVER_SECONDS = Histogram("hub_deliver_seconds", "One attempt to deliver", ["channel"], buckets=_SECONDS, registry=REGISTRY)
WORK = Gauge("hub_work", "Messages by state: queued, in_flight, uncertain, dead", ["channel", "state"], registry=REGISTRY)
LAG = Gauge("hub_lag_seconds", "Age of the oldest message that waits", ["channel"], registry=REGISTRY)
BLOCKED = Gauge("hub_blocked_lanes", "Lanes that a dead or uncertain message blocks", ["channel"], registry=REGISTRY)
BREAKER = Gauge("hub_breaker_open", "1 while the channel's breaker is open", ["channel"], registry=REGISTRY)
CONNECTIONS = Gauge("hub_connections", "Open connections of a listener", ["channel"], registry=REGISTRY)
AUDIT_TAIL = Gauge("hub_audit_tail", "Audit entries not yet covered by a checkpoint", registry=REGISTRY)
RESTARTS = Counter("hub_restarts", "Child processes that were started again", ["role"], registry=REGISTRY)


def render() -> bytes:
    """All series in Prometheus' text format (CONTENT_TYPE)."""
    return generate_latest(REGISTRY)
