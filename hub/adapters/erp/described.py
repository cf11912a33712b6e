"""A SAP service's `$metadata`, of a file that the settings name or of the service itself, held against what a channel needs."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path

from hub.codecs.sap import edmx, edmx_wanted
from hub.codecs.sap.edmx_wanted import Want
from hub.domain.errors import Misconfigured, Unreadable
from hub.domain.ports import Difference

INSTEAD = "have a newer release of the service activated, or do without"


def differences(wants: Iterable[Want], file: Path | None, fetch: Callable[[], bytes], *, ask: bool) -> list[Difference] | None:
    """As hub.domain.ports.Described: `fetch` asks the service. Raises what that raises, and Misconfigured."""
    if not ask and file is None:
        return None
    try:
        service = edmx.read(fetch() if ask or file is None else _of_file(file))
    except Unreadable as error:
        where = "the ERP's $metadata" if ask or file is None else str(file)
        raise Misconfigured(f"{where} cannot be compared: {error.reason}", code="not_edmx") from None
    return edmx_wanted.compare(service, wants, INSTEAD)


def _of_file(file: Path) -> bytes:
    try:
        with file.open("rb") as stream:
            return stream.read(edmx.MOST_BYTES + 1)
    except OSError as error:
        raise Misconfigured(f"metadata: {file} cannot be read ({error.strerror}): save the service's $metadata there") from None
