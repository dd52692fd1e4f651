"""The steps of a delivery, one file each, by the same names as in `tasks`."""
