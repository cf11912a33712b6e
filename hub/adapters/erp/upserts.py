"""Many patients into SAP at once: read, compare, write, each in one `$batch`, one change set a patient.

A round asks for all partners that are to be looked at (by number, else by identification number), compares each with its
message and writes what differs. A change set is done whole or not at all, and fails alone. What was read is stale (404, 409,
412) is read again and compared again: what somebody else changed there stays, what we say is written. After an answer
that was lost or came half, the next round reads before anything else is said of it.
"""

from __future__ import annotations

import copy
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field

import orjson

from hub.adapters.erp import fields as bp
from hub.adapters.erp.odata_client import ODataClient, as_answer, token_is_wanted
from hub.adapters.erp.partner import Change, Found, Plan, Planner
from hub.adapters.erp.settings import Settings
from hub.adapters.first import NAMELESS, is_nameless, is_unnumbered_prospect, merged_away
from hub.codecs.sap import odata
from hub.codecs.sap import odata_batch as batch
from hub.codecs.sap.odata import Entity
from hub.domain.errors import HubError, Misconfigured, NotDelivered, OutcomeUnknown, Refused, Unreadable
from hub.domain.ports import Delivered, Outbound
from hub.transport.http import Answer

ROUNDS = 3  # how often a partner that somebody else changed meanwhile is read and compared again
TOGETHER = 50  # keys in one $filter

Came = Delivered | HubError


@dataclass(slots=True)
class _Task:
    """A message on its way: what was read for it, what is to be written, and what came of it."""

    message: Outbound
    number: str = ""
    partner_id: str = ""
    found: Found | None = None
    plan: Plan = field(default_factory=Plan)
    requests: list[batch.Request] = field(default_factory=list)
    doubt: HubError | None = None  # what the last write met: settled by reading
    came: Came | None = None
    rounds: int = 0
    renewed: bool = False  # the session's token, for this message
    replies: list[batch.Answer] = field(default_factory=list)  # of change sets that were done, in this attempt
    sent: list[bytes] = field(default_factory=list)

    def done(self, detail: str, etag: str | None = None) -> None:
        answer = b"\n".join(one.body for one in self.replies) or (orjson.dumps(self.found.partner) if self.found else b"")
        self.came = Delivered(self.partner_id or None, etag, b"\n".join(self.sent), answer, detail, self.plan.sent_fields)

    def fails(self, error: HubError, *, alone: bool = True) -> None:
        """`error` becomes this message's own; of others' bytes it keeps nothing."""
        own = copy.copy(error)
        own.sent = b"\n".join(one.body for one in self.requests) if self.requests else b""
        own.answer = error.answer if alone else b""
        self.came = own


class Upserts:
    """Thread-safe: all it holds is the client and the settings."""

    def __init__(self, settings: Settings, sap: ODataClient) -> None:
        self._settings, self._sap = settings, sap
        self._planner = Planner(settings)

    def bring(self, messages: Sequence[Outbound]) -> list[Came]:
        """What came of each, in their order."""
        tasks = [self._task(message) for message in messages]
        self._guarded([task for task in tasks if task.came is None])
        return [task.came or _unsettled() for task in tasks]

    def find(self, message: Outbound) -> Delivered | None:
        """Whether what `message` says stands in SAP already: the read leaves nothing to write."""
        task = self._task(message)
        if task.came is None:
            self._look([task])
        if isinstance(task.came, HubError):
            raise task.came
        if task.came is None and task.found is not None and not self._compare(task):
            task.done("found", odata.etag(task.found.partner))
        return task.came

    def _task(self, message: Outbound) -> _Task:
        task = _Task(message, partner_id=message.peer_id or "")
        try:
            task.number = self._planner.number(message.resource)
        except Refused as error:
            task.fails(error)
        if merged_away(message) and (message.type != "patient.merged" or self._settings.merged == "nothing"):
            task.came = Delivered(message.peer_id, message.peer_etag, detail="nothing to do: merged into another patient")
        return task

    # rounds

    def _guarded(self, tasks: Sequence[_Task]) -> None:
        """What a whole request met is said of every message in it; but a no that one of them may have caused, of each alone."""
        try:
            self._rounds(tasks)
        except HubError as error:
            left = [task for task in tasks if task.came is None]
            if isinstance(error, Refused) and len(left) > 1:
                for task in left:
                    self._guarded([task])
                return
            for task in left:
                task.fails(task.doubt or error, alone=len(left) == 1)

    def _rounds(self, tasks: Sequence[_Task]) -> None:
        pending = list(tasks)
        while pending:
            self._look(pending)
            writing = [task for task in pending if task.came is None and self._decide(task)]
            if writing:
                self._write(writing)
            pending = [task for task in pending if task.came is None]
            for task in pending:
                task.rounds += 1
                if task.rounds >= ROUNDS and task.doubt is None:
                    task.fails(NotDelivered("the partner kept changing in the ERP while we wrote", code="conflict"))

    # reading

    def _look(self, tasks: Sequence[_Task]) -> None:
        """Reads each task's partner: by the number learnt earlier, else by identification number."""
        searched: set[int] = set()
        open_ = [task for task in tasks if task.partner_id or task.number]
        for task in tasks:
            task.found = None
        while open_:
            partners, hits = self._asked(
                {task.partner_id for task in open_ if task.partner_id}, {task.number for task in open_ if not task.partner_id}
            )
            again = []
            for task in open_:
                if task.partner_id:
                    if (partner := partners.get(task.partner_id)) is not None:
                        task.found = Found.of(partner)
                    elif task.number and id(task) not in searched:  # it is gone: there may be another by now
                        task.partner_id = ""
                        again.append(task)
                    continue
                searched.add(id(task))
                numbers = hits.get(task.number, set())
                if len(numbers) > 1:
                    many = f"ambiguous: {len(numbers)} business partners carry this patient number"
                    task.fails(Refused(many, code="ambiguous"))
                elif numbers:
                    (task.partner_id,) = numbers
                    again.append(task)
            open_ = again

    def _asked(self, ids: Collection[str], numbers: Collection[str]) -> tuple[dict[str, Entity], dict[str, set[str]]]:
        """Partners by id, and the partners that carry each identification number."""
        kind = odata.equal(BPIdentificationType=self._settings.identification_type)
        by_id = [("A_BusinessPartner", {"$filter": one_of("BusinessPartner", some), "$expand": self._planner.expand})
                 for some in _chunks(sorted(ids))]  # fmt: skip
        by_number = [("A_BuPaIdentification", {"$filter": f"{kind} and ({one_of('BPIdentificationNumber', some)})"})
                     for some in _chunks(sorted(numbers))]  # fmt: skip
        answers = self._sap.ask([*by_id, *by_number])
        partners = {bp.text(one, "BusinessPartner"): one for found in answers[: len(by_id)] for one in found}
        hits: dict[str, set[str]] = {}
        for found in answers[len(by_id) :]:
            for one in found:
                hits.setdefault(bp.text(one, "BPIdentificationNumber"), set()).add(bp.text(one, "BusinessPartner"))
        return partners, {number: ids - {""} for number, ids in hits.items()}

    # comparing

    def _decide(self, task: _Task) -> bool:
        """Whether there is something to write; where not, or where it cannot be, `came` says so."""
        doubt, task.doubt = task.doubt, None
        if task.found is None and doubt is not None:  # nobody there: the create did not happen, or has not yet
            task.fails(doubt)
            return False
        try:
            created = not task.requests or task.requests[0].target == "A_BusinessPartner"
            if not self._compare(task):
                return False
        except Unreadable as error:
            task.requests = []
            task.fails(Misconfigured(f"the ERP answered something else than was asked ({error.reason})", code="not_odata"))
            return False
        except HubError as error:
            task.requests = []
            task.fails(error)
            return False
        if doubt is not None and not created:
            task.fails(doubt)
            return False
        return True

    def _compare(self, task: _Task) -> bool:
        """Plans what differs. False: nothing does, and `came` says it is delivered. Raises HubError of the four."""
        message, requests = task.message, task.requests
        if task.found is None:
            if message.type == "patient.merged":
                task.came = Delivered(detail="nothing to do: the ERP does not know this patient")
                return False
            if is_unnumbered_prospect(message.resource):
                task.came = Delivered(detail="nothing to do: a prospect without a number")
                return False
            if is_nameless(message.resource):
                task.came = Delivered(detail=NAMELESS)
                return False
            task.plan = self._planner.new(message.resource, self._may_create(task))
        elif message.type == "patient.merged":
            task.plan = self._planner.merged(task.found, message.patient_peer_id or "")
        else:
            task.plan = self._planner.change(message, task.found)
        if not task.plan.changes:
            etag = odata.etag(task.found.partner) if task.found else None
            statuses = ",".join(str(one.status) for one in task.replies)
            task.done(statuses or ("found" if requests else "unchanged"), etag)
            return False
        task.requests = [self._request(change, str(number)) for number, change in enumerate(task.plan.changes, 1)]
        return True

    def _may_create(self, task: _Task) -> str:
        if not self._settings.create:
            raise Refused(
                "the patient is unknown there, and this channel does not create business partners", code="unknown_there"
            )
        if not task.number:
            raise Refused(
                f"the patient has no number of {self._settings.assigner}, the assigner of this channel", code="no_identifier"
            )
        return task.number

    def _request(self, change: Change, content_id: str) -> batch.Request:
        method = self._settings.update_method if change.method == "PATCH" else change.method
        headers = {"If-Match": change.etag} if change.etag else {}
        body = odata.dump(change.fields) if change.fields is not None else b""
        return batch.Request(method, change.path.removeprefix("/"), headers, body, content_id)

    # writing

    def _write(self, tasks: Sequence[_Task]) -> None:
        try:
            answers = self._sap.write([task.requests for task in tasks])
        except OutcomeUnknown as error:
            for task in tasks:
                task.doubt = error
            return
        for task, replies in zip(tasks, answers, strict=True):
            self._judge(task, replies)

    def _judge(self, task: _Task, replies: list[batch.Answer] | None) -> None:
        """What came of one change set."""
        failed = next((one for one in replies or () if not 200 <= one.status < 300), None)
        if failed is not None:
            self._failed(task, as_answer(failed))
        elif not replies or len(replies) != len(task.requests):
            task.doubt = OutcomeUnknown("the ERP's answer to a change set did not come whole", code="answer_lost")
        else:
            task.sent += [one.body for one in task.requests]
            task.replies += replies
            etag = replies[0].headers.get("etag") if len(task.replies) == 1 else None
            if task.found is None:
                try:
                    made = odata.parse_entity(replies[0].body)
                    task.partner_id, etag = bp.text(made, "BusinessPartner"), etag or odata.etag(made)
                except Unreadable:
                    task.doubt = OutcomeUnknown("the ERP's answer to a create cannot be read", code="wrong_answer")
                    return
            if task.plan.again:
                task.rounds -= 1  # that was a step forward
            else:
                task.done(",".join(str(one.status) for one in task.replies), etag)

    def _failed(self, task: _Task, answer: Answer) -> None:
        """A change set that was not done: read again where that helps, else one of the four errors."""
        if token_is_wanted(answer) and not task.renewed:
            task.renewed = True
            self._sap.renew()
            return
        if task.found is not None and answer.status in (404, 409, 412):
            return
        error = self._error(task, answer)
        if task.found is None and isinstance(error, Refused | OutcomeUnknown):
            task.doubt = error  # a duplicate is a 400 at SAP, a 409 elsewhere: it may stand there by now
        elif isinstance(error, OutcomeUnknown):
            task.doubt = error
        else:
            task.fails(error)

    def _error(self, task: _Task, answer: Answer) -> HubError:
        if answer.status == 428:
            error: HubError = Misconfigured("the ERP wants If-Match but shows no ETag of its entities", code="no_version")
            error.answer = answer.body
            return error
        known = {name for change in task.plan.changes for name in _names(change.fields)}
        return self._sap.error(answer, known=known)


def one_of(name: str, values: Sequence[str]) -> str:
    """A `$filter` for any of `values`."""
    return " or ".join(odata.equal(**{name: value}) for value in values)


def _chunks(values: Sequence[str]) -> Iterator[Sequence[str]]:
    for at in range(0, len(values), TOGETHER):
        yield values[at : at + TOGETHER]


def _names(value: object) -> Iterator[str]:
    """All property names of a body, however deep."""
    if isinstance(value, dict):
        for name, below in value.items():
            yield name
            yield from _names(below)
    elif isinstance(value, list):
        for one in value:
            yield from _names(one)


def _unsettled() -> HubError:
    return HubError("our bug: a message of the batch was not settled", code="bug")
