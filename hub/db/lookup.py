"""Look-ups by other systems: the read side of hub.domain.ports.Lookup, and the access record of each answer."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from sqlalchemy import Connection, Engine, select
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from hub.audit.actions import Action
from hub.db.tables import identifier, resource
from hub.db.views import orders, patients
from hub.domain.errors import TryAgain
from hub.domain.facts import Key
from hub.domain.ports import AuditWriter, Order, Person, Traits, Wanted

HOLDERS = 200  # patients with accounts of one number that are looked at


class SqlLookup:
    """hub.domain.ports.Lookup on a database. `audit` commits each record before it returns."""

    def __init__(self, engine: Engine, audit: AuditWriter) -> None:
        self._engine = engine
        self._audit = audit

    def search(self, traits: Traits, *, after: str, limit: int) -> list[Person]:
        with self._reading() as conn:
            if traits.account:
                return _holders(conn, traits.account, after, limit)
            query = patients.Search(traits.identifier, traits.name, traits.phone, traits.birth_date)
            return [Person(row.id, row.data) for row in patients.find(conn, query, after=after, limit=limit)]

    def bearer(self, number: Key) -> Person | None:
        with self._reading() as conn:
            row = conn.execute(
                select(resource)
                .join(identifier, identifier.c.resource_id == resource.c.id)
                .where(
                    identifier.c.kind == "Patient", identifier.c.assigner == number.assigner, identifier.c.value == number.value
                )
            ).first()
            return None if row is None else Person(row.id, patients.as_resource(row).data)

    def gives_numbers(self, assigner: str) -> bool:
        with self._reading() as conn:
            statement = select(identifier.c.value).where(identifier.c.kind == "Patient", identifier.c.assigner == assigner)
            return conn.execute(statement.limit(1)).first() is not None

    def to_image(self, wanted: Wanted, *, after: tuple[int, str] | None, limit: int) -> list[Order]:
        with self._reading() as conn:
            return orders.to_image(conn, wanted, after=after, limit=limit)

    def told(self, channel: str, asker: str, address: str, what: str, by: Sequence[str], ids: Sequence[str]) -> None:
        detail = {"ip": address, "what": what, "by": list(by), "ids": list(ids)}
        with _busy_is_told():
            self._audit.append(Action.PATIENT_SEARCHED, actor=f"peer:{asker}", channel=channel, detail=detail)

    def denied(self, channel: str, asker: str, address: str) -> None:
        with _busy_is_told():
            self._audit.append(Action.ACCESS_DENIED, actor=f"peer:{asker}", channel=channel, detail={"ip": address})

    @contextmanager
    def _reading(self) -> Iterator[Connection]:
        with _busy_is_told(), self._engine.connect() as conn:
            yield conn


@contextmanager
def _busy_is_told() -> Iterator[None]:
    try:
        yield
    except (DBAPIError, PoolTimeout) as error:
        raise TryAgain(f"the database cannot be asked now ({type(error).__name__})") from None


def _holders(conn: Connection, number: str, after: str, limit: int) -> list[Person]:
    """Whose accounts have that number."""
    owners = (
        select(resource.c.patient_id)
        .join(identifier, identifier.c.resource_id == resource.c.id)
        .where(identifier.c.kind == "Account", identifier.c.value == number)
        .limit(HOLDERS)
    )
    statement = select(resource).where(resource.c.id.in_(owners), resource.c.status == "active", resource.c.id > after)
    return [
        Person(row.id, patients.as_resource(row).data) for row in conn.execute(statement.order_by(resource.c.id).limit(limit))
    ]
