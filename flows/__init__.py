"""One file per flow: the order of work. No HTTP, no SQL, no phone numbers."""
