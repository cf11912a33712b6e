"""What only a PACS does wrong, met by a whole hub: nothing is lost, nothing comes twice, and what is wrong is said."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from hub.simulator.pacs import PacsPeer, Trouble
from hub.simulator.pacs_web import PacsWebPeer
from hub.testing.case import CANARIES
from hub.testing.polled import Bench
from tests.contract.pacs_cases import ASKING, study

C_FIND, QIDO, ORTHANC = ASKING


def bench(case: Any, peer: Any, folder: Path, **more: Any) -> Bench:
    return Bench(case, peer, folder / "hub", **more)


def test_each_trouble_of_a_pacs_is_said_and_costs_nothing(tmp_path: Path) -> None:
    with PacsPeer() as peer:
        hub = bench(C_FIND, peer, tmp_path)
        told: list[int] = []
        for n, trouble in enumerate(one for one in Trouble if one is not Trouble.WARNED):
            told.append(n)
            peer.tell(study(n))
            peer.trouble = trouble
            said = hub.poll()
            assert said != "", trouble
            assert not any(canary in said for canary in CANARIES), trouble
            peer.behave()
            assert hub.poll() == "", trouble
            assert sorted(hub.numbers()) == sorted(hub.expected(*told)), trouble
        hub.close()


@pytest.fixture
def orthanc(tmp_path: Path) -> Iterator[tuple[PacsWebPeer, Bench]]:
    with PacsWebPeer() as peer:
        hub = bench(ORTHANC, peer, tmp_path, gone_event="PACS_GONE", sweep_seconds=1, count=3)
        yield peer, hub
        hub.close()


def test_a_log_that_was_begun_anew_is_read_anew(orthanc: tuple[PacsWebPeer, Bench]) -> None:
    """Shorter than before, and as long with other lines: what is known makes no message, and nothing new is missed."""
    peer, hub = orthanc
    for n in range(5):
        peer.tell(study(n))
    assert hub.poll() == ""
    assert sorted(hub.numbers()) == sorted(hub.expected(*range(5)))
    peer.archive.reset_log()
    peer.tell(study(5))
    assert hub.poll() == ""
    peer.archive.reset_log()
    for n in range(6, 20):
        peer.tell(study(n))
    assert hub.poll() == ""
    assert sorted(hub.numbers()) == sorted(hub.expected(*range(20)))


def test_what_is_deleted_before_it_is_asked_for_is_passed_over(orthanc: tuple[PacsWebPeer, Bench]) -> None:
    peer, hub = orthanc
    peer.tell(study(1))
    gone = peer.tell(study(2))
    real = peer._orthanc

    def deleted(request: Any, path: list[str], query: Any) -> Any:
        if path[:1] == ["studies"] and gone in peer.archive.studies:
            peer.archive.delete(gone)
        return real(request, path, query)

    peer._orthanc = deleted  # type: ignore[method-assign]
    assert hub.poll() == ""
    assert hub.numbers() == hub.expected(1)


def test_many_that_are_gone_at_once_are_a_mistake(orthanc: tuple[PacsWebPeer, Bench]) -> None:
    peer, hub = orthanc
    uids = [peer.tell(study(n)) for n in range(30)]
    assert hub.poll() == ""
    for uid in uids[:25]:
        peer.archive.delete(uid)
    hub.poller._feed.keep("swept", "1")
    assert "25 of 30 studies are gone at once" in hub.poll()
    assert len(hub.numbers()) == 30


@pytest.mark.parametrize(("offsets", "most"), [(True, 2), (True, 1000), (False, 1000)])
def test_pages_of_any_kind_give_every_study_once(tmp_path: Path, offsets: bool, most: int) -> None:
    with PacsWebPeer() as peer:
        peer.offsets, peer.most = offsets, most
        for n in range(7):
            peer.tell(study(n))
        hub = bench(QIDO, peer, tmp_path, count=3)
        assert hub.poll() == ""
        assert sorted(hub.numbers()) == sorted(hub.expected(*range(7)))
        assert not any("PatientID" in target for _, target in peer.received)
        hub.close()


@pytest.mark.parametrize("way", [C_FIND, QIDO], ids=["C-FIND", "QIDO-RS"])
def test_a_study_that_is_gone_is_told_and_one_that_was_given_another_day_is_not(tmp_path: Path, way: Any) -> None:
    with way.peer(None) as peer:
        hub = bench(way, peer, tmp_path, gone_event="PACS_GONE")
        uids = [peer.tell(study(n)) for n in range(3)]
        assert hub.poll() == ""
        peer.archive.delete(uids[0])
        peer.tell(study(1) | {"StudyDate": "20200101"})
        assert hub.poll() == ""
        assert [kind for kind, _ in hub.home.messages()].count("PACS_GONE") == 1
        assert hub.poll() == ""
        assert len(hub.home.messages()) == 4
        hub.close()
