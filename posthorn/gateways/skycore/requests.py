"""Skycore's parameters: a ticket as XML or as a query string, checked before anything is sent.

Tags and their order are those of the sendMMSBarcode page's examples; the optional ones come from its later revisions.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import urlencode
from xml.sax.saxutils import escape

from posthorn.errors import InputError
from posthorn.models import UNSENDABLE, TicketRequest

_FIELD_NAME = re.compile(r"(?!xml)[a-z_][a-z0-9_.-]{0,63}", re.IGNORECASE)
_SLIDE = re.compile(r"[1-9][0-9]?")

_OPTIONAL = {
    "ddm_title": "DDMTITLE",
    "ddm_text": "DDMTEXT",
    "ddm_timeout": "DDMTIMEOUT",
    "device": "DEVICE",
    "custom_subject": "CUSTOMSUBJECT",
    "from_mask": "FROM_MASK",
}
"""Optional parameters of one value: key of the event file -> tag (sendMMSBarcode page, 2013-10-31 to 2015-04-14)."""

_EXTRAS = frozenset({*_OPTIONAL, "custom_texts", "data"})


@dataclass(slots=True)
class Parameters:
    """What a call says besides action and key: single values by tag, texts by slide, merge fields by name."""

    single: list[tuple[str, str]] = field(default_factory=list)
    texts: list[tuple[str, str]] = field(default_factory=list)
    data: list[tuple[str, str]] = field(default_factory=list)


def ticket(request: TicketRequest) -> Parameters:
    """The parameters in the order of the page's examples."""
    required = (
        ("TO", "phone", str(int(request.phone))),
        ("FROM", "from", request.sender),
        ("BARCODEID", "barcode_id", request.barcode_id),
        ("CAMPAIGNREF", "campaign_ref", request.campaign_ref),
        ("MMSID", "mms_id", request.mms_id),
    )
    single = [(tag, _required(name, value)) for tag, name, value in required if value or tag != "CAMPAIGNREF"]
    return Parameters(single + _optional(request.extras), _texts(request.extras), _data(request.extras))


def _required(name: str, value: str | None) -> str:
    if not value or not value.strip():
        raise InputError(name, "is missing; nothing was sent")
    return _checked(name, value)


def _optional(extras: Mapping[str, object]) -> list[tuple[str, str]]:
    """The optional single values that are given; a device discovery needs its text (sendSavedMMS page)."""
    unknown = sorted(set(extras) - _EXTRAS)
    if unknown:
        raise InputError(unknown[0], "is not a parameter of a ticket; nothing was sent")
    given = {key: _checked(key, value) for key, value in extras.items() if key in _OPTIONAL and value not in (None, "")}
    if not re.fullmatch(r"[0-9]{0,5}", given.get("ddm_timeout", "")):
        raise InputError("ddm_timeout", "is not a whole number of minutes; nothing was sent")
    if "ddm_text" not in given and given.keys() & {"ddm_title", "ddm_timeout"}:
        raise InputError("ddm_text", "is missing, and a device discovery needs it; nothing was sent")
    return [(tag, given[key]) for key, tag in _OPTIONAL.items() if key in given]


def _texts(extras: Mapping[str, object]) -> list[tuple[str, str]]:
    given = _mapping(extras, "custom_texts")
    texts = {str(slide): value for slide, value in given.items()}
    if len(texts) < len(given):
        raise InputError("custom_texts", "a slide is given twice; nothing was sent")
    for slide in texts:
        if not _SLIDE.fullmatch(slide):
            raise InputError("custom_texts", "a slide's number is not 1 to 99; nothing was sent")
    return [(slide, _checked(f"custom_texts.{slide}", texts[slide])) for slide in sorted(texts, key=int)]


def _data(extras: Mapping[str, object]) -> list[tuple[str, str]]:
    fields: dict[str, str] = {}
    for name, value in _mapping(extras, "data").items():
        if not _FIELD_NAME.fullmatch(name):
            raise InputError("data", "a field's name is not letters, digits, dots, dashes and underscores; nothing was sent")
        if name.upper() in fields:
            raise InputError("data", f"the field {name.upper()} is given twice; nothing was sent")
        fields[name.upper()] = _checked(f"data.{name}", value)
    return list(fields.items())


def _mapping(extras: Mapping[str, object], key: str) -> Mapping[str, object]:
    value = extras.get(key) or {}
    if not isinstance(value, Mapping):
        raise InputError(key, "is not a table of names and values; nothing was sent")
    return value


def _checked(name: str, value: object) -> str:
    text = "" if value is None else str(value)
    if found := UNSENDABLE.search(text):
        raise InputError(name, f"holds the character U+{ord(found[0]):04X}, which XML cannot carry; nothing was sent")
    return text


def document(action: str, api_key: str, parameters: Parameters) -> str:
    """The request in XML, in ASCII: so it does not matter which charset the provider assumes."""
    parts = [_element(tag, text) for tag, text in (("ACTION", action), ("API_KEY", api_key), *parameters.single)]
    parts += [
        f"<CUSTOMTEXT>{_element('VALUE', text)}{_element('SLIDE', slide)}</CUSTOMTEXT>" for slide, text in parameters.texts
    ]
    if parameters.data:
        parts.append(f"<DATA>{''.join(_element(name, text) for name, text in parameters.data)}</DATA>")
    return f"<REQUEST>{''.join(parts)}</REQUEST>".encode("ascii", "xmlcharrefreplace").decode("ascii")


def _element(tag: str, text: str) -> str:
    return f"<{tag}>{escape(text, {chr(13): '&#13;'})}</{tag}>"  # a bare carriage return reads back as a line feed


def query(action: str, api_key: str, parameters: Parameters) -> str:
    """The request as a query string: every name in lower case, and the action too, as the page's example has it."""
    pairs = [("action", action.lower()), ("api_key", api_key)]
    pairs += [(tag.lower(), text) for tag, text in parameters.single]
    pairs += [(f"customtext_{slide}", text) for slide, text in parameters.texts]
    pairs += [(f"data_{name.lower()}", text) for name, text in parameters.data]
    return urlencode(pairs)
