"""A PACS of any size is polled in flat memory, as it streams: nothing is read that nobody has asked for yet."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from hub.adapters.pacs import dicom_poll
from hub.domain.errors import Misconfigured
from hub.domain.ports import Found
from hub.simulator.pacs import PacsPeer
from tests.contract.pacs_cases import study

MANY = 12_000
WARM = 2_000  # after which all that is needed is there
ROOM = 12 << 20  # bytes; the studies themselves would be three times as much
PAGE = 4096


class Feed:
    """Takes everything, and ends after `most` studies."""

    def __init__(self, most: int = MANY * 2) -> None:
        self.count = 0
        self._most = most

    def looking(self) -> None:
        """Nothing else tells."""

    def ending(self) -> bool:
        return self.count >= self._most

    def rows(self, _event: str, found: Sequence[Found], _seen: Any = None) -> int:
        self.count += len(found)
        return len(found)


@pytest.fixture
def pacs() -> Iterator[PacsPeer]:
    def crowd() -> Iterator[dict[str, str]]:
        return (study(0) | {"StudyInstanceUID": f"1.2.3.{n}"} for n in range(MANY))

    with PacsPeer() as peer:
        peer.archive.crowd = crowd
        yield peer


def source(peer: PacsPeer, **more: Any) -> dicom_poll.DicomPoll:
    return dicom_poll.build(dicom_poll.Settings(host=peer.host, port=peer.port, called_ae="PACS", since="2026-01-01", **more))


def test_many_studies_cost_no_more_than_few(pacs: PacsPeer) -> None:
    feed, seen = Feed(), []
    blocks = source(pacs).load(feed, "ImagingStudy", [], "2026-11-22")  # type: ignore[arg-type]
    while feed.count < MANY:
        next(blocks)
        seen.append((feed.count, int(Path("/proc/self/statm").read_text().split()[1]) * PAGE))
    blocks.close()
    warm = next(size for count, size in seen if count >= WARM)
    assert max(size for _, size in seen) - warm < ROOM


def test_a_hub_that_ends_has_the_pacs_stop(pacs: PacsPeer) -> None:
    feed = Feed(most=1000)
    source(pacs, window_days=1).poll(feed)  # type: ignore[arg-type]
    assert feed.count == 1000
    assert pacs.cancelled.wait(2)
    assert pacs.sent < MANY


def test_more_than_was_agreed_on_is_stopped_and_said(pacs: PacsPeer) -> None:
    with pytest.raises(Misconfigured, match="most_matches"):
        source(pacs, most_matches=2000).poll(Feed())  # type: ignore[arg-type]
    assert pacs.cancelled.wait(2)
