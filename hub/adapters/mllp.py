"""What every target over MLLP has: its connections, and what its answers mean (HL7 v2.5.1 §2.9.2.2, §2.9.3.1; ADR 0042)."""

# ruff: noqa: RUF009 - option() makes a dataclass field; it is no shared default

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from hub.adapters.settings import read_table, wrong
from hub.codecs.hl7v2 import Message, parse
from hub.config import option
from hub.domain.errors import HubError, NotDelivered, OutcomeUnknown, Refused, Unreadable
from hub.domain.ports import Delivered, Outbound
from hub.transport.mllp_client import MllpClient
from hub.transport.mllp_pool import MllpPool
from hub.transport.tls import client_context, normal_peer

DONE, TAKEN, RETRY, NO = "delivered", "taken", "retry", "refused"
ANSWERS: dict[str, str] = {
    "AA": DONE,
    "CA": TAKEN,  # in safe storage there; its decision comes later, as a message of its own
    "AE": NO,  # its content is at fault
    "AE.206": RETRY,  # application record locked
    "CE": NO,
    "CE.206": RETRY,
    "CE.207": RETRY,  # §2.9.3.1: CE is any reason but MSH-9/11/12, so also a store that is down
    "AR": RETRY,  # a reason unrelated to content: system down, queue full
    "CR": RETRY,
    **{f"{code}.{error}": NO for code in ("AR", "CR") for error in (100, 101, 102, 103, 200, 201, 202, 203, 204, 205)},
}
_KEY = re.compile(r"(AA|AE|AR|CA|CE|CR)(\.[0-9]{1,5})?")


@dataclass(frozen=True, slots=True)
class MllpSettings:
    """Where a peer listens, how it is spoken to, and what its answers mean there: what every target over MLLP is told."""

    host: str = option(doc="where the peer listens")
    port: int = option(doc="its port", low=1, high=65535)
    answers: dict[str, str] = option(dict, doc='what an answer means here: { "AE.207" = "retry", "AR" = "refused" }')
    connections: int = option(1, doc="connections at a time; each has one message in flight", low=1, high=16)
    connect_timeout_seconds: float = option(5.0, doc="seconds for a connection", low=0.1, high=15)
    timeout_seconds: float = option(30.0, doc="seconds that an answer may take", low=0.1, high=50)
    tls: bool = option(False, doc="true: TLS, its certificate checked against the system's authorities or ca_file")
    ca_file: Path | None = option(None, doc="authorities trusted for it (PEM); switches TLS on")
    cert_file: Path | None = option(None, doc="certificate that we show (PEM), for mutual TLS; switches TLS on")
    key_file: Path | None = option(None, doc="its private key (PEM)")
    tls_peers: tuple[str, ...] = option((), doc='certificates taken: ["sha256:…"] or names; default: the name in `host`')

    def __post_init__(self) -> None:
        check_answers(self.answers)

    @classmethod
    def from_table(cls, table: Mapping[str, Any]) -> Self:
        """From a plain table. Raises Misconfigured."""
        return read_table(cls, table)


def pool(settings: MllpSettings, peer: str) -> MllpPool:
    """The target's connections; none is made yet. Raises Misconfigured for TLS files that cannot be used."""
    s, context = settings, None
    if s.tls or s.ca_file or s.cert_file:
        files = [str(path) if path else "" for path in (s.ca_file, s.cert_file, s.key_file)]
        context = client_context(*files, check_name=not s.tls_peers)
    allowed = frozenset(normal_peer(one) for one in s.tls_peers)

    def client() -> MllpClient:
        return MllpClient(
            s.host, s.port, connect_seconds=s.connect_timeout_seconds, answer_seconds=s.timeout_seconds, tls=context,
            allowed=allowed,
        )  # fmt: skip

    return MllpPool(client, s.connections, s.timeout_seconds, peer=peer)


class MllpTarget:
    """What every target over MLLP does the same way. Thread-safe; threads share `connections` connections and wait for one.

    `peer`: how errors call it, "the OCS".
    """

    resend_is_safe = True  # the same bytes under the same MSH-10, or whole states: sending one again does no harm

    def __init__(self, settings: MllpSettings, peer: str) -> None:
        self._peer = peer
        self._answers = {**ANSWERS, **settings.answers}
        self._pool = pool(settings, peer)

    def find(self, message: Outbound) -> Delivered | None:  # noqa: ARG002 - the port's signature
        """HL7 v2 has no question for this; `resend_is_safe` makes it unnecessary."""
        return None

    def ping(self) -> str:
        """Connect, with TLS where configured: MLLP has no question of its own."""
        with self._pool.client() as client:
            return client.ping()

    def close(self) -> None:
        self._pool.close()

    def _judged(self, answer: bytes, charset: str, already: Collection[str] = ()) -> tuple[bool, str]:
        """(whether the answer decides, its codes for people); raises what it means. `already`: codes of a "no" that is none."""
        code, error_code = read_answer(answer, charset, self._peer)
        meaning = self._answers.get(f"{code}.{error_code}") or self._answers.get(code)
        detail = f"{code} {error_code}".strip()
        return judge(DONE if error_code in already else meaning, code, detail, answer, self._peer), detail


def check_answers(answers: Mapping[str, str]) -> None:
    """Raises Misconfigured where a line of `answers` says nothing."""
    for key, meaning in answers.items():
        if _KEY.fullmatch(key) is None or meaning not in (DONE, TAKEN, RETRY, NO):
            raise wrong(
                f'answers: "{key}" = "{meaning}" says nothing', 'write { "AE.207" = "retry" } (or refused, taken, delivered)'
            )


def judge(meaning: str | None, code: str, detail: str, answer: bytes, peer: str) -> bool:
    """Whether the answer decides (False: taken, its decision comes later). Raises what any other meaning is, with the answer."""
    if meaning in (DONE, TAKEN):
        return meaning == DONE
    error: HubError
    if meaning == RETRY:
        error = NotDelivered(f"{peer} answered {detail}: not now", code=f"hl7_{code.lower()}")
    elif meaning == NO:
        error = Refused(f"{peer} answered {detail}", code=f"hl7_{code.lower()}")
    else:
        error = OutcomeUnknown(f"{peer} answered with a code of no table", code="answer_unknown")
    error.answer = answer
    raise error


def read_answer(answer: bytes, charset: str, peer: str) -> tuple[str, str]:
    """(MSA-1, error code of table 0357 or ""). The code stands in ERR-3 (v2.5 on), ERR-1.4.1 (before) or MSA-6 (before v2.4).

    `peer` is how errors call it: "the OCS". Raises OutcomeUnknown where the answer cannot be read.
    """
    try:
        parsed: Message = parse(answer, charset)
    except Unreadable:
        raise OutcomeUnknown(f"the answer of {peer} cannot be read", code="answer_garbled") from None
    code = error_code = ""
    for segment in parsed.segments:
        if segment.name == "MSA":
            code, error_code = segment.value(1) or "", error_code or segment.value(6) or ""
        elif segment.name == "ERR":
            error_code = segment.value(3) or segment.value(1, comp=4) or error_code
    return code, error_code if error_code.isascii() and error_code.isdigit() and error_code != "0" else ""
