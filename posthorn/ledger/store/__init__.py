"""The lower floor of the ledger: engine, tables, locks, the writer thread, migrations. No verbs."""
