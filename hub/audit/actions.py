"""The closed list of what the audit log can say: subject and act of every entry.

A writer that wants to say something new adds a line here first, so that an auditor can read this page and know all that
the log may hold. The texts are stored and hashed: none is ever renamed or given another meaning.
"""

from __future__ import annotations

from enum import StrEnum


class Action(StrEnum):
    """`subject.act`, the act in the past tense."""

    # A message that came in or went out
    MESSAGE_STORED = "message.stored"  # committed as received, before its answer
    MESSAGE_RECEIVED = "message.received"  # a system brought messages by the web; detail: from where, how many, which
    MESSAGE_REFUSED = "message.refused"  # unreadable or not for us: bytes kept, negative answer
    MESSAGE_DUPLICATE = "message.duplicate"  # the same again: nothing stored, the first answer given once more
    MESSAGE_CONTROL_ID_REUSED = "message.control_id_reused"  # a control id within its window with other content
    MESSAGE_APPLIED = "message.applied"  # it reached the canonical model; detail lists the changes: ids, types, field names
    MESSAGE_IGNORED = "message.ignored"  # filtered by its channel, or no map for it
    MESSAGE_STALE = "message.stale"  # older than what its source said last: kept, not applied
    MESSAGE_DEAD = "message.dead"  # no way on without a person
    MESSAGE_UNCERTAIN = "message.uncertain"  # the target may have acted: a person finds out
    MESSAGE_DELIVERED = "message.delivered"  # the target confirmed it
    MESSAGE_NOT_DELIVERED = "message.not_delivered"  # one attempt failed; it is tried again
    MESSAGE_REPLAYED = "message.replayed"  # a person put it back into its lane, with a reason
    MESSAGE_DISCARDED = "message.discarded"  # a person gave it up, with a reason
    MESSAGE_SETTLED = "message.settled"  # a person, or later the target itself, said whether it had acted
    MESSAGE_SENT = "message.sent"  # a person put a message in by hand (`hub send`)
    MESSAGE_READ = "message.read"  # somebody looked into a message's body or its facts
    MESSAGE_SEARCHED = "message.searched"  # somebody searched the messages

    # Patients and what is theirs, by the API or the console (what messages change is in message.applied)
    PATIENT_CREATED = "patient.created"  # a prospect, made by the front office
    PATIENT_CHANGED = "patient.changed"  # fields set by the front office
    PATIENT_READ = "patient.read"  # one patient's data were shown; detail says which part
    PATIENT_SEARCHED = "patient.searched"  # a search over patients; detail holds keyed digests of the terms
    PATIENT_MERGED = "patient.merged"  # two patients became one
    PATIENT_UNMERGED = "patient.unmerged"  # a merge was taken back
    APPOINTMENT_CREATED = "appointment.created"  # booked by the front office
    APPOINTMENT_CHANGED = "appointment.changed"  # moved or edited by the front office
    APPOINTMENT_CANCELLED = "appointment.cancelled"  # cancelled by the front office
    APPOINTMENT_READ = "appointment.read"  # one appointment was shown
    ENCOUNTER_CREATED = "encounter.created"  # by hand
    ENCOUNTER_CHANGED = "encounter.changed"  # by hand
    ENCOUNTER_CANCELLED = "encounter.cancelled"  # by hand
    ENCOUNTER_READ = "encounter.read"  # one visit was shown
    RELATIONSHIP_CREATED = "relationship.created"  # by the front office
    RELATIONSHIP_CHANGED = "relationship.changed"  # by the front office
    RELATIONSHIP_REMOVED = "relationship.removed"  # by the front office
    RELATIONSHIP_READ = "relationship.read"  # who is who to a patient was shown
    RESOURCE_READ = "resource.read"  # a resource of any other kind was shown

    # Bulk reads
    SNAPSHOT_READ = "snapshot.read"  # a page of the snapshot for a front-end that starts
    CHANGES_READ = "changes.read"  # a page of the delta feed
    EXPORT_MADE = "export.made"  # data or the log were written to a file
    AUDIT_READ = "audit.read"  # somebody read this log
    AUDIT_VERIFIED = "audit.verified"  # somebody had this log checked; detail holds the result

    # Polled sources, asked by a person
    LOAD_STARTED = "load.started"  # all that a source holds of a kind; detail says which, and how many conditions
    LOAD_ENDED = "load.ended"  # it was read to the end; detail holds counts
    LOAD_INTERRUPTED = "load.interrupted"  # by a person; it can go on
    REQUEST_MADE = "request.made"  # one thing was asked for by its number

    # Channels
    CHANNEL_PAUSED = "channel.paused"  # by a person
    CHANNEL_RESUMED = "channel.resumed"  # by a person
    CHANNEL_STOPPED = "channel.stopped"  # by the hub: misconfigured, or the peer said gone
    CHANNEL_STARTED = "channel.started"  # its listener or its deliverer began
    CHANNEL_PINGED = "channel.pinged"  # a person had the target asked whether it is there
    CHANNEL_BREAKER_OPENED = "channel.breaker_opened"  # the target is down: no attempts for a while
    CHANNEL_BREAKER_CLOSED = "channel.breaker_closed"  # the target answers again

    # Who may do what
    TOKEN_CREATED = "token.created"  # noqa: S105 - an action's name
    TOKEN_REVOKED = "token.revoked"  # noqa: S105 - an action's name
    SESSION_OPENED = "session.opened"  # a browser logged in
    SESSION_CLOSED = "session.closed"  # a browser logged out, or its time was over
    ACCESS_DENIED = "access.denied"  # no such token, or its role may not

    # The hub itself
    HUB_STARTED = "hub.started"  # a process of the hub began
    HUB_STOPPED = "hub.stopped"  # a process of the hub ended cleanly
    CONFIG_RELOADED = "config.reloaded"  # a new configuration is in force; detail holds its hash
    CONFIG_REFUSED = "config.refused"  # a reload was asked for, and the file is wrong: the old one stays
    MAP_INSTALLED = "map.installed"  # a map version was used for the first time
    DATABASE_MIGRATED = "database.migrated"  # the schema was brought to another version
    KEY_ROTATED = "key.rotated"  # a new data key seals from now on
    BACKUP_MADE = "backup.made"  # `hub backup`
    PURGE_DONE = "purge.done"  # bodies were erased by age and class; detail holds counts
