"""A file becomes a delivery in the ledger: read, checked, compared with what is planned, written."""
