"""XML from outside is read within bounds."""

from __future__ import annotations

import pytest

from posthorn.gateways.xml import MAX_DEPTH, Unreadable, read_xml


def test_a_document_has_no_more_elements_than_it_may() -> None:
    assert len(read_xml(b"<a>" + b"<b/>" * 9 + b"</a>", max_elements=10)) == 9
    with pytest.raises(Unreadable, match="too many elements"):
        read_xml(b"<a>" + b"<b/>" * 10 + b"</a>", max_elements=10)


def test_a_document_is_no_deeper_than_it_may_be() -> None:
    def nested(depth: int) -> bytes:
        return b"<a>" * depth + b"</a>" * depth

    assert read_xml(nested(MAX_DEPTH), max_elements=100).tag == "a"
    with pytest.raises(Unreadable, match="too deep"):
        read_xml(nested(MAX_DEPTH + 1), max_elements=100)
