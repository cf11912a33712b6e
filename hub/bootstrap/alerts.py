"""Alerts that stand for as long as a thing lasts: one a channel and kind, raised with the reason and cleared when it is over."""

from __future__ import annotations

from hub.domain.rows import AlertRow
from hub.domain.store import Store

NOT_LISTENING = "not_listening"  # hub.db.views.channels shows it as the channel's trouble
TEXT_MAX = 500


def raise_alert(store: Store, kind: str, channel: str, text: str) -> None:
    """The channel's one alert of that kind; what stood before is over."""
    with store.transaction() as tx:
        tx.execute(_CLEAR + " AND channel = ?", tx.now, kind, channel)
        tx.write([AlertRow(tx.now, kind, channel, text[:TEXT_MAX], None)])


def clear_alert(store: Store, kind: str, channel: str) -> None:
    """That of one channel; where none stands, nothing is written."""
    if channel in standing(store, kind):
        with store.transaction() as tx:
            tx.execute(_CLEAR + " AND channel = ?", tx.now, kind, channel)


def standing(store: Store, kind: str) -> set[str]:
    """Channels with an alert of that kind; an earlier process may have raised it."""
    with store.snapshot() as tx:
        return {str(channel) for (channel,) in tx.many("SELECT channel FROM alert WHERE kind = ? AND cleared_at IS NULL", kind)}


_CLEAR = "UPDATE alert SET cleared_at = ? WHERE kind = ? AND cleared_at IS NULL"
