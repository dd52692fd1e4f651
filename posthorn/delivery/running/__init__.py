"""What the steps of one run share: its locks, its ledger, its pace, and what it waits for."""
