"""The `posthorn` command, one file per group."""
