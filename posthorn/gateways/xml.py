"""Reads XML from outside: no DTD, no entities, no more and no deeper elements than an honest document has."""

from __future__ import annotations

from xml.etree.ElementTree import Element, ParseError, TreeBuilder

from defusedxml.common import DefusedXmlException
from defusedxml.ElementTree import DefusedXMLParser

MAX_DEPTH = 20
"""Levels of elements; the deepest document of a provider has five."""


class Unreadable(ValueError):
    """It is not a complete document, or not one that we read. The message says why, without quoting the document."""


class _BoundedBuilder(TreeBuilder):
    """Builds the tree, and gives up early: a document of nothing but tags takes fifty times its size in memory."""

    def __init__(self, max_elements: int) -> None:
        super().__init__()
        self._left = max_elements
        self._depth = 0

    def start(self, tag: str, attrs: dict[str, str], /) -> Element:
        """Begin an element."""
        self._left -= 1
        self._depth += 1
        if self._left < 0:
            raise Unreadable("too many elements")
        if self._depth > MAX_DEPTH:
            raise Unreadable("too deep")
        return super().start(tag, attrs)

    def end(self, tag: str, /) -> Element:
        """End an element."""
        self._depth -= 1
        return super().end(tag)


def read_xml(body: bytes, *, max_elements: int) -> Element:
    """The root of the document.

    Raises:
        Unreadable: empty, cut off, HTML, another charset, a DTD, entities, too deep, too many elements.
    """
    parser = DefusedXMLParser(target=_BoundedBuilder(max_elements), forbid_dtd=True)
    try:
        parser.feed(body)
        root: Element = parser.close()
    except Unreadable:
        raise
    except (ValueError, LookupError, ParseError, DefusedXmlException) as error:
        raise Unreadable(type(error).__name__) from None  # the parser's own error quotes the document
    return root
