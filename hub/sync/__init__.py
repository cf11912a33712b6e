"""Intake, apply, deliver, and what keeps them honest: lanes, authority, retry, breaker, dead letters, operations."""
