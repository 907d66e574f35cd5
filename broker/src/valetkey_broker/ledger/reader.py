"""Reads events and leases; runs in threads, never in the event loop."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import ColumnElement, Connection, Select, false, func, literal, or_, select, true

from valetkey_broker.ledger.chain import stored_event
from valetkey_broker.ledger.database import Database
from valetkey_broker.ledger.high_water_mark import high_water_mark
from valetkey_broker.ledger.index_choice import Equal, narrowest_first
from valetkey_broker.ledger.records_of_resource import in_place, names
from valetkey_broker.ledger.schema import IS_LEASE, IS_NO_TOKEN, IS_REFUSED_RESOURCE, events
from valetkey_broker.model import EventFilter, EventKind, LeaseFilter, StoredEvent
from valetkey_broker.model.event import KINDS_WITH_RESOURCE

# Their ids come out of an index alone, in some milliseconds.
_FEW_LIVING = 20_000
# So many refusals are looked through at a time for those of one resource.
_LOOKED_THROUGH = 5_000
_e = events.c
_KNOWN = [kind.value for kind in EventKind if kind is not EventKind.UNKNOWN]
_IS_TOKEN = (IS_LEASE, _e.kind == EventKind.TOKEN_ISSUED.value)
# What one credential signed for one account.
_ONE_OF_EACH = (_e.connector, _e.connector_uid, _e.credential_version, _e.account)
_OUTCOMES = (EventKind.ADMIN_CHANGE.value, EventKind.CHANGE_FAILED.value)


def read_events(database: Database, wanted: EventFilter) -> Sequence[StoredEvent]:
    """Returns events by id, oldest first, such that who goes on after the last one misses none."""
    conditions: list[ColumnElement[bool]] = [_e.id <= high_water_mark(database)]
    if wanted.after_id is not None:
        conditions.append(_e.id > wanted.after_id)
    equal: Sequence[Equal] = [
        Equal(column, value, part)
        for column, value, part in (
            (_e.principal, wanted.principal, None),
            (_e.connector, wanted.connector, None),
            (_e.request_id, wanted.request_id, None),
            (_e.lease_id, wanted.lease_id, IS_LEASE),
        )
        if value
    ]
    if wanted.unfinished or wanted.cut_off:
        conditions.append(_e.id.in_(_unfinished(cut_off=wanted.cut_off)))
    with database.reading() as connection:
        conditions += _times(connection, wanted)
        if wanted.container:
            found = _of_resource(connection, wanted, conditions, equal)
        else:
            of_kind, equal = _of_kind(wanted.kind, equal)
            conditions += of_kind + narrowest_first(connection, equal)
            found = _stored(connection, _in_order(wanted, conditions).limit(wanted.limit))
    return found[::-1] if wanted.newest else found


def read_leases(database: Database, wanted: LeaseFilter) -> Sequence[StoredEvent]:
    """Returns the events of issued tokens, newest first."""
    conditions: list[ColumnElement[bool]] = [*_IS_TOKEN, *in_place(wanted)]
    if wanted.grant:
        conditions.append(_e.grant == wanted.grant)
    if wanted.signature_sha256:
        conditions.append(_e.signature_sha256 == wanted.signature_sha256)
    equal = [
        Equal(column, value, part)
        for column, value, part in (
            (_e.principal, wanted.principal, None),
            (_e.connector, wanted.connector, None),
            (_e.container, wanted.container, IS_LEASE),
        )
        if value
    ]
    if wanted.before_id is not None:
        conditions.append(_e.id < wanted.before_id)
    if wanted.issued_before is not None:
        # The index on times would be gone through from its beginning. Adding 0 keeps SQLite from it.
        conditions.append(_e.time_us + 0 < round(wanted.issued_before * 1e6))
    if wanted.expires is not None:
        # Of the tokens that end in one second there are few; no index is on signatures.
        conditions.append(_e.expires == wanted.expires)
    with database.reading() as connection:
        if wanted.active_at is not None:
            through_all = wanted.one_of_each or wanted.issued_before is not None
            conditions += _living(connection, int(wanted.active_at), through_all=through_all)
        conditions += narrowest_first(connection, equal)
        if wanted.one_of_each:
            conditions = [_e.id.in_(select(func.max(_e.id)).where(*conditions).group_by(*_ONE_OF_EACH))]
        return _stored(connection, select(events).where(*conditions).order_by(_e.id.desc()).limit(wanted.limit))


def _in_order(
    wanted: EventFilter, conditions: Sequence[ColumnElement[bool]], columns: Sequence[Any] = (events,)
) -> Select[Any]:
    return select(*columns).where(*conditions).order_by(_e.id.desc() if wanted.newest else _e.id)


def _of_kind(kind: EventKind | None, equal: Sequence[Equal]) -> tuple[list[ColumnElement[bool]], Sequence[Equal]]:
    """Returns the conditions for a kind, and `equal` with that for the kind where an index serves it."""
    if kind is None:
        return [], equal
    if kind is EventKind.UNKNOWN:
        return [IS_NO_TOKEN, _e.kind.not_in(_KNOWN)], equal
    of_kind = Equal(_e.kind, kind.value, IS_NO_TOKEN)
    # No index helps with tokens, which nearly all are.
    if kind is not EventKind.TOKEN_ISSUED:
        return [], [*equal, of_kind]
    return [of_kind.by_look], equal


def _of_resource(
    connection: Connection,
    wanted: EventFilter,
    conditions: Sequence[ColumnElement[bool]],
    equal: Sequence[Equal],
) -> list[StoredEvent]:
    """Returns the records about a resource in the order that is wanted: tokens come out of the index on containers.

    Refusals have only what was asked for, as it was written; they are looked through: all of them in an index that has
    just that, or, by the index of their kind, those of the time that is asked about.
    """
    kinds = KINDS_WITH_RESOURCE if wanted.kind is None else (wanted.kind,)
    refusals = [kind for kind in kinds if kind is not EventKind.TOKEN_ISSUED]
    asked = _e.resource.contains(wanted.container, autoescape=True)
    found: list[StoredEvent] = []
    if len(refusals) < len(kinds):
        tokens = narrowest_first(connection, [*equal, Equal(_e.container, wanted.container, IS_LEASE)])
        query = _in_order(wanted, [*conditions, *_IS_TOKEN, *in_place(wanted), *tokens])
        found += _stored(connection, query.limit(wanted.limit))
    if refusals and wanted.since is None:
        # No index is to be used for the kind: a literal is added.
        of_kinds = (_e.kind + literal("")).in_([kind.value for kind in refusals])
        of_all = _e.id.in_(select(_e.id).where(IS_REFUSED_RESOURCE, asked))
        found += _naming(connection, wanted, [*conditions, of_kinds, of_all, *(each.by_look for each in equal)])
    else:
        for kind in refusals:
            of_kind, all_equal = _of_kind(kind, equal)
            narrowest = narrowest_first(connection, all_equal)
            found += _naming(connection, wanted, [*conditions, *of_kind, asked, *narrowest])
    return sorted(found, key=lambda stored: stored.id, reverse=wanted.newest)[: wanted.limit]


def _naming(
    connection: Connection, wanted: EventFilter, conditions: Sequence[ColumnElement[bool]]
) -> list[StoredEvent]:
    """Returns the first records of those that meet the conditions and name the resource, in any order."""
    ids: list[int] = []
    query = _in_order(wanted, conditions, (_e.id, _e.resource))
    page = connection.execute(query.limit(_LOOKED_THROUGH)).all()
    while True:
        named = {resource: names(resource, wanted) for resource in {row.resource for row in page}}
        ids += [row.id for row in page if named[row.resource]]
        if len(ids) >= wanted.limit or len(page) < _LOOKED_THROUGH:
            return _stored(connection, select(events).where(_e.id.in_(ids[: wanted.limit])))
        beyond = _e.id < page[-1].id if wanted.newest else _e.id > page[-1].id
        page = connection.execute(query.where(beyond).limit(_LOOKED_THROUGH)).all()


def _living(connection: Connection, moment: int, *, through_all: bool) -> list[ColumnElement[bool]]:
    """Returns the condition for leases that live, and for the id behind which all of them are.

    Without that, whoever asks for what a caller has now is made to wait for all that the caller ever had. Where very
    many live, a page of them is near the end of the ledger, and the id is not looked for: but for who goes
    `through_all` of them, and might find none.
    """
    lives = _e.expires > moment
    newest = select(_e.id).where(IS_LEASE, lives).order_by(_e.expires.desc()).limit(_FEW_LIVING).subquery()
    first, count = connection.execute(select(func.min(newest.c.id), func.count())).one()
    if count == _FEW_LIVING:
        if not through_all:
            return [lives]
        # Adding 0 keeps SQLite to the index, see `_times`.
        first = connection.execute(select(func.min(_e.id + 0)).where(IS_LEASE, lives)).scalar_one()
    return [false()] if first is None else [lives, _e.id >= first]


def _times(connection: Connection, wanted: EventFilter) -> list[ColumnElement[bool]]:
    """Returns the conditions for the time, and for the ids between which all records of that time are.

    Without those a database looks for the first page from the beginning of the ledger on. The ids come out of the index
    on times alone; adding 0 keeps SQLite from looking for the least id instead, which is the same walk again.
    """
    times = []
    if wanted.since is not None:
        times.append(_e.time_us >= round(wanted.since * 1e6))
    if wanted.until is not None:
        times.append(_e.time_us < round(wanted.until * 1e6))
    if not times:
        return []
    first, last = connection.execute(select(func.min(_e.id + 0), func.max(_e.id + 0)).where(*times)).one()
    return [false()] if first is None else [*times, _e.id.between(first, last)]


def _unfinished(*, cut_off: bool) -> Select[tuple[int]]:
    """Returns the ids of those CHANGE_BEGUN whose next record of the same call and object is no outcome.

    ADMIN_CHANGE with a reason says that the outcome is not known: it is one only for `cut_off`.

    The next one counts, not any: a caller may use its request id again, and a change must not pass for finished because
    a later one was. A window looks at each record once; a look-up for each change would go through all records of its
    request id, which is the caller's to choose, and take hours where many share one.
    """
    known = true() if cut_off else or_(_e.kind != EventKind.ADMIN_CHANGE.value, _e.reason == "")
    following = func.lead(_e.kind).over(
        partition_by=(_e.writer, _e.request_id, _e.method, _e.object), order_by=_e.sequence
    )
    changes = (
        select(_e.id, _e.kind, following.label("following"))
        .where(IS_NO_TOKEN, _e.kind.in_((EventKind.CHANGE_BEGUN.value, *_OUTCOMES)), known)
        .subquery()
        .c
    )
    return select(changes.id).where(
        changes.kind == EventKind.CHANGE_BEGUN.value,
        func.coalesce(changes.following, "").not_in(_OUTCOMES),
        changes.id.not_in(_reconciled()),
    )


def _reconciled() -> Select[tuple[int]]:
    """Returns the ids of those CHANGE_BEGUN that another process brought to their end, on record in its own chain."""
    following = func.lead(_e.kind).over(partition_by=(_e.request_id, _e.method, _e.object), order_by=_e.id)
    kinds = (EventKind.CHANGE_BEGUN.value, EventKind.CHANGE_RECONCILED.value)
    changes = select(_e.id, _e.kind, following.label("following")).where(IS_NO_TOKEN, _e.kind.in_(kinds)).subquery().c
    return select(changes.id).where(
        changes.kind == EventKind.CHANGE_BEGUN.value, changes.following == EventKind.CHANGE_RECONCILED.value
    )


def _stored(connection: Connection, query: Any) -> list[StoredEvent]:
    return [stored_event(row) for row in connection.execute(query)]
