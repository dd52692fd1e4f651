"""Receives what providers push, at a path nobody can guess; durable before it answers."""
