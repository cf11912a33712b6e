"""Metrics: every series that the hub exports, in one registry. Labels are channel names, states and roles only.

The counts stand in the database, where all processes of the hub write them; /metrics looks them up when it is asked.
"""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, generate_latest

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
REGISTRY = CollectorRegistry(auto_describe=True)
TOTALS = ("received", "done", "ignored", "stale", "refused", "discarded", "duplicate")
STATES = ("queued", "in_flight", "uncertain", "dead")

TOTAL = Gauge(
    "hub_messages_total", "Messages since the beginning, by what became of them", ["channel", "state"], registry=REGISTRY
)
WORK = Gauge("hub_work", "Messages now, by state: queued, in_flight, uncertain, dead", ["channel", "state"], registry=REGISTRY)
LAG = Gauge("hub_lag_seconds", "Age of the oldest message that could go", ["channel"], registry=REGISTRY)
BLOCKED = Gauge("hub_blocked_lanes", "Lanes that a dead or uncertain message blocks", ["channel"], registry=REGISTRY)
BREAKER = Gauge("hub_breaker_open", "1 while the channel's breaker is open", ["channel"], registry=REGISTRY)
DOWN = Gauge("hub_not_listening", "1 while the channel cannot listen: its port is taken, or its TLS files", ["channel"],
             registry=REGISTRY)  # fmt: skip
RESTARTS = Counter("hub_restarts", "Child processes that this process started again", ["role"], registry=REGISTRY)


def render() -> bytes:
    """All series in Prometheus' text format (CONTENT_TYPE)."""
    return generate_latest(REGISTRY)
