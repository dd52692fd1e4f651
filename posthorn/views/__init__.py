"""What is shown: status, tables, metrics, the texts of artifacts. It reads the ledger and changes nothing."""
