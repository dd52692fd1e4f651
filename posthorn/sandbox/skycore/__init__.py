"""Skycore's wxml API 1.3 as documented, for barcode tickets. Shares no code with Posthorn's own gateway."""

from __future__ import annotations

from posthorn.sandbox.skycore.options import SkycoreOptions, Template
from posthorn.sandbox.skycore.provider import Skycore

__all__ = ["Skycore", "SkycoreOptions", "Template"]
