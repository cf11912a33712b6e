"""Why intake must turn senders away before anything breaks: the disk is nearly full, or too much is waiting."""

from __future__ import annotations

import shutil

from hub.bootstrap.assemble import Hub
from hub.domain.errors import HubError


def why_full(hub: Hub) -> str:
    """A reason to answer "try again" to every sender, or an empty text. Costs one count of at most `limits.queue` rows."""
    limits = hub.config.limits
    if shutil.disk_usage(hub.config.hub.data_dir).free < limits.disk_free_mb << 20:
        return "the disk is nearly full"
    try:
        with hub.store.snapshot() as tx:
            row = tx.one("SELECT COUNT(*) FROM (SELECT 1 FROM work WHERE direction = 'in' LIMIT ?) AS waiting", limits.queue + 1)
    except HubError:
        return ""  # intake finds out by itself, and says so
    return "too many messages are waiting" if row and row[0] > limits.queue else ""
