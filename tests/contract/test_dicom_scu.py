"""What a PACS does that only DICOM knows, met by our SCU: each ends as one of the domain's errors, in time."""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from hub.adapters.pacs.dicom_poll import read
from hub.codecs.dicom import columns, writer
from hub.codecs.dicom.uid import EXPLICIT_LITTLE, IMPLICIT_LITTLE
from hub.domain.errors import HubError, Misconfigured, NotDelivered, Refused
from hub.simulator.certificates import Authority
from hub.simulator.faults import Fault
from hub.simulator.pacs import PacsPeer, Trouble
from hub.testing.outbound import in_the_clear
from hub.transport.dicom_scu import STUDY_ROOT, VERIFICATION, WORKLIST, Association, ScuSettings, ask
from tests.contract.pacs_cases import study

MEANT: dict[Trouble, tuple[type[HubError], str]] = {
    Trouble.REJECTED: (Misconfigured, "rejected"),
    Trouble.CALLED_UNKNOWN: (Misconfigured, "called_ae"),
    Trouble.CALLING_UNKNOWN: (Misconfigured, "calling_ae"),
    Trouble.CONGESTED: (NotDelivered, "busy"),
    Trouble.NO_SOP_CLASS: (Refused, "sop_class"),
    Trouble.NO_SYNTAX: (Refused, "transfer_syntax"),
    Trouble.ABORTED: (NotDelivered, "aborted"),
    Trouble.RELEASED: (NotDelivered, "released"),
    Trouble.CANCELLED: (NotDelivered, "cancelled"),
    Trouble.FAILED: (NotDelivered, "status_c001"),
    Trouble.HUGE: (NotDelivered, "not_dicom"),
    Trouble.CUT: (NotDelivered, "closed"),
}


@pytest.fixture
def pacs() -> Iterator[PacsPeer]:
    with PacsPeer() as peer:
        for n in (1, 2, 3):
            peer.tell(study(n))
        yield peer


def settings(peer: PacsPeer, **more: object) -> ScuSettings:
    return ScuSettings(host=peer.host, port=peer.port, called_ae="PACS", timeout_seconds=0.5, **more)  # type: ignore[arg-type]


def keys(association: Association, **more: str) -> bytes:
    asked = dict.fromkeys(columns.STUDY, "") | {"QueryRetrieveLevel": "STUDY"} | more
    return writer.data_set(asked, association.syntax(STUDY_ROOT))


def found(peer: PacsPeer, **more: str) -> list[str]:
    with Association(settings(peer), STUDY_ROOT) as association:
        return [str(read(one, "").key["StudyInstanceUID"]) for one in association.find(STUDY_ROOT, keys(association, **more))]


@pytest.mark.parametrize("trouble", MEANT)
def test_every_trouble_is_an_error_that_says_what_to_do(pacs: PacsPeer, trouble: Trouble) -> None:
    kind, code = MEANT[trouble]
    pacs.trouble = trouble
    began = time.monotonic()
    with pytest.raises(kind) as caught:
        found(pacs)
    assert time.monotonic() - began < 2
    assert (type(caught.value), caught.value.code) == (kind, code)
    assert in_the_clear(caught.value) == []
    if code.endswith("_ae"):
        assert settings(pacs).called_ae in caught.value.reason or settings(pacs).calling_ae in caught.value.reason
    pacs.behave()
    assert len(found(pacs)) == 3


def test_troubles_are_all_there() -> None:
    assert MEANT.keys() | {Trouble.WARNED} == set(Trouble)


def test_a_key_that_is_not_supported_is_a_warning(pacs: PacsPeer, caplog: pytest.LogCaptureFixture) -> None:
    pacs.trouble = Trouble.WARNED
    assert len(found(pacs)) == 3
    assert sum("0xFF01" in record.getMessage() for record in caplog.records) == 1


@pytest.mark.parametrize("explicit", [False, True], ids=["implicit", "explicit"])
def test_both_transfer_syntaxes(pacs: PacsPeer, explicit: bool) -> None:
    pacs.explicit = explicit
    with Association(settings(pacs), STUDY_ROOT) as association:
        assert association.syntax(STUDY_ROOT) == (EXPLICIT_LITTLE if explicit else IMPLICIT_LITTLE)
    assert found(pacs, StudyInstanceUID="1.2.410.99.2") == ["1.2.410.99.2"]
    assert found(pacs, StudyInstanceUID="1.2.410.99.2\\1.2.410.99.3") == ["1.2.410.99.2", "1.2.410.99.3"]


def test_echo_and_what_is_offered(pacs: PacsPeer) -> None:
    assert "C-ECHO" in ask(settings(pacs), (STUDY_ROOT,))
    with pytest.raises(Refused, match="Modality Worklist"):
        ask(settings(pacs), (WORKLIST,))
    with pytest.raises(Misconfigured, match="NOBODY"):
        ask(ScuSettings(host=pacs.host, port=pacs.port, called_ae="NOBODY"))


def test_who_stops_asking_has_it_cancelled(pacs: PacsPeer) -> None:
    """And may ask again by the same association."""
    pacs.archive.crowd = lambda: (study(n) for n in itertools.count())
    with Association(
        settings(
            pacs,
        ),
        STUDY_ROOT,
        VERIFICATION,
    ) as association:
        matches = association.find(STUDY_ROOT, keys(association))
        assert len(list(itertools.islice(matches, 10))) == 10
        matches.close()
        assert pacs.cancelled.wait(2)
        association.echo()


def test_a_pacs_that_does_not_hear_a_cancel_is_aborted(pacs: PacsPeer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pacs, "_cancel_came", lambda *_: False)
    pacs.archive.crowd = lambda: (study(n) for n in itertools.count())
    began = time.monotonic()
    with Association(settings(pacs), STUDY_ROOT, VERIFICATION) as association:
        matches = association.find(STUDY_ROOT, keys(association))
        next(matches)
        matches.close()
        with pytest.raises(NotDelivered, match="closed"):
            association.echo()
    assert time.monotonic() - began < 3


@pytest.mark.parametrize("fault", [Fault.HALF_OPEN, Fault.SILENT, Fault.HANG_UP, Fault.GARBAGE, Fault.ANSWER_CUT])
def test_a_peer_that_says_nothing_or_rubbish_costs_a_moment(pacs: PacsPeer, fault: Fault) -> None:
    pacs.misbehave(fault, None)
    began = time.monotonic()
    with pytest.raises(NotDelivered):
        found(pacs)
    assert time.monotonic() - began < 2


def test_tls(authority: Authority, tmp_path: Path) -> None:
    (tmp_path / "ca.pem").write_bytes(authority.pem)
    with PacsPeer(tls=authority.server_context()) as peer:
        peer.tell(study(1))
        secured = ScuSettings(
            host=peer.host, port=peer.port, called_ae="PACS", timeout_seconds=2, tls=True, ca_file=tmp_path / "ca.pem"
        )
        assert "C-ECHO" in ask(secured, (STUDY_ROOT,))
        with pytest.raises(NotDelivered):  # in the clear
            ask(settings(peer))
        peer.misbehave(Fault.TLS_WRONG)
        with pytest.raises(Misconfigured, match="certificate"):
            ask(secured)


@pytest.mark.parametrize("title", ["", "A" * 17, "TWO\\ONE", "한국", " LEADS", "TRAILS "])
def test_what_is_no_ae_title_is_told(title: str) -> None:
    with pytest.raises(Misconfigured, match="called_ae"):
        ScuSettings(host="127.0.0.1", called_ae=title)
