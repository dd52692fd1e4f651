"""Chunks and tickets leave: claimed durably, let through at the last moment, made into one request, recorded."""
