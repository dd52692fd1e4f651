"""Skycore's wxml API 1.3 as documented, for barcode tickets. Shares no code with Posthorn's own gateway."""

from __future__ import annotations

from posthorn.sandbox.skycore.options import SkycoreOptions, Template

__all__ = ["SkycoreOptions", "Template"]  # the provider itself takes a while to load
