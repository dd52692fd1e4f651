"""One task per step of a delivery: retries, limits and run names; the work itself is in posthorn."""
