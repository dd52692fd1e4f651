"""Alembic migrations of the ledger, run when it is opened. ``HEAD`` saves importing Alembic where nothing is to be done."""

HEAD = "0017"
