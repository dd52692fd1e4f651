"""An event file (TOML) as a checked ``TicketEvent``, and its attendees: who gets which code.

Never sends or stores anything.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Collection, Iterator, Mapping
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, PrivateAttr

from posthorn.content import inputfile
from posthorn.content.inputfile import checked_name, read_model, sha256_of, unknown_gateway
from posthorn.content.media.barcode import new_barcode_id
from posthorn.content.recipients.csvfile import CsvFile, open_csv
from posthorn.content.recipients.phones import PhoneReader, Reason
from posthorn.content.recipients.rejects import Reject, RejectsFile
from posthorn.errors import InputError
from posthorn.models import UNSENDABLE, Phone

BARCODE_COLUMNS = ("barcode_id", "barcode", "barcodeid")
"""What the column of codes may be called, in any case."""

BATCH = 5_000
_BARCODE = re.compile(r"[A-Za-z0-9_-]{1,32}")
_PLACEHOLDER = re.compile(r"\{([^{}]*)\}")
_FIRST_REJECTS = 100


def _digits(value: str) -> str:
    if not re.fullmatch(r"[0-9]{1,18}", value):
        raise ValueError("expected digits, as the provider shows it")
    return value


def _number_as_text(value: object) -> object:
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else value


def _checked_path(path: str) -> str:
    if not path.strip() or not path.isprintable():
        raise ValueError("expected a path")
    return path


def _shortcode(value: str) -> str:
    if not re.fullmatch(r"\+?[0-9]{3,15}", value):
        raise ValueError("expected a shortcode or a long number of the account: digits")
    return value


class TicketEvent(BaseModel):
    """One stored MMS with a code of its own for each attendee. Paths are relative to the file's folder.

    The keys below ``barcode`` are optional parameters of the provider (later revisions of the sendMMSBarcode page).
    """

    model_config = ConfigDict(strict=True, frozen=True, extra="forbid", hide_input_in_errors=True)

    name: Annotated[str, AfterValidator(checked_name)] = Field(description="Identity: running it again resumes")
    mms_id: Annotated[str, BeforeValidator(_number_as_text), AfterValidator(_digits)] = Field(
        description="The stored MMS with a barcode object"
    )
    sender: Annotated[str, BeforeValidator(_number_as_text), AfterValidator(_shortcode)] = Field(
        alias="from", description="Shortcode or long number"
    )
    attendees: Annotated[str, AfterValidator(_checked_path)] = Field(description="CSV with columns phone and barcode_id")
    campaign_ref: Annotated[str, BeforeValidator(_number_as_text)] | None = Field(
        None, description="Campaign at the provider, where the account enforces one"
    )
    barcode: Literal["column", "generate"] = Field("column", description="generate: rows without a code get one")
    ddm_title: str | None = Field(None, description="Title of the device discovery message")
    ddm_text: str | None = Field(None, description="Its text; discovery may delay the ticket by ddm_timeout minutes")
    ddm_timeout: int | None = Field(None, ge=0, description="Minutes to wait for the discovery")
    device: str | None = Field(None, description="Handset id hint")
    custom_subject: str | None = Field(None, description="Subject; {column} is the attendee's")
    custom_texts: dict[str, str] = Field(
        default_factory=dict, description="Text by slide number; {column} is the attendee's"
    )
    data: dict[str, str] = Field(default_factory=dict, description="Merge fields: FIELD = column of the attendees file")
    from_mask: str | None = Field(None, description="Alphanumeric sender, where the country allows one")
    gateway: str | None = Field(None, description="Which gateway sends it, where there are several")
    allow_repeat: bool = Field(False, description="Send although the same MMS went to some of these numbers lately")

    _folder: Path = PrivateAttr(default=Path())

    @property
    def attendees_path(self) -> Path:
        """Where the file of attendees is."""
        return self._folder / self.attendees

    def definition(self) -> dict[str, object]:
        """What makes this event what it is, as JSON values: content, not paths or pace. It reads the attendees file.

        Raises:
            InputError: the attendees file cannot be read.
        """
        left_out = {"name", "attendees", "allow_repeat"} | (set() if self.gateway else {"gateway"})
        content = self.model_dump(mode="json", by_alias=True, exclude=left_out)
        return {**content, "attendees": sha256_of(self.attendees_path, "attendees")}


@dataclass(frozen=True, slots=True)
class Attendee:
    """One valid row. ``copy`` counts earlier tickets of the same number; ``fields`` are the row's other columns."""

    line: int
    phone: Phone
    barcode: str
    copy: int
    fields: dict[str, str]


def load_event(path: Path, gateways: Collection[str]) -> TicketEvent:
    """The event described in ``path``; ``gateways`` are the names of those that it may name.

    Raises:
        InputError: the file cannot be read, is no TOML, or holds something wrong; every problem is a line of its own.
    """
    event = read_model(path, TicketEvent, "event file", functools.partial(_conflicts, gateways))
    event._folder = path.parent  # noqa: SLF001 - set once, here: no key of the file may name it
    return event


def differences(old: Mapping[str, object], new: Mapping[str, object]) -> list[str]:
    """A sentence for each thing in which two definitions differ."""
    return inputfile.differences(old, new, files=("attendees",))


def fill(template: str, fields: Mapping[str, str]) -> str:
    """The template with each ``{column}`` replaced by the attendee's value."""
    return _PLACEHOLDER.sub(lambda found: fields.get(found[1].casefold(), ""), template)


class AttendeeIntake:
    """A file of attendees. Iterating yields batches; the counters count along, and start anew with each iteration.

    ``input`` is always ``accepted + invalid + duplicate``. ``first_rejects`` holds the first 100 rejects; the rejects file,
    if one is asked for, holds all of them.
    """

    def __init__(self, event: TicketEvent, region: str, rejects: Path | None) -> None:
        self._file = open_csv(event.attendees_path, "attendees")
        self._reader = PhoneReader(region)
        self._generates = event.barcode == "generate"
        self._barcode_column = _barcode_column(self._file, generates=self._generates)
        self._used = _used_columns(event, self._file)
        self.path = event.attendees_path
        self.sha256 = self._file.sha256
        self.rejects = rejects
        self.accepted = self.invalid = self.duplicate = 0
        self.first_rejects: list[Reject] = []

    def makes_code_of(self, attendee: Attendee) -> bool:
        """Whether the attendee's row has no code, so that each reading of the file makes another one."""
        return not attendee.fields.get(self._barcode_column or "")

    @property
    def sent_columns(self) -> frozenset[str]:
        """The columns whose values are sent with a ticket."""
        return self._used

    @property
    def input(self) -> int:
        """Rows of the file, so far."""
        return self.accepted + self.invalid + self.duplicate

    def __iter__(self) -> Iterator[list[Attendee]]:
        self.accepted = self.invalid = self.duplicate = 0
        self.first_rejects = []
        lines_by_barcode: dict[str, int] = {}
        copies: dict[Phone, int] = {}
        batch: list[Attendee] = []
        with RejectsFile(self.rejects) if self.rejects else nullcontext() as rejects_file:
            for line, cells, problem in self._file.rows():
                attendee = problem or self._attendee(line, cells, lines_by_barcode, copies)
                if isinstance(attendee, Attendee):
                    self.accepted += 1
                    batch.append(attendee)
                    if len(batch) == BATCH:
                        yield batch
                        batch = []
                else:
                    self._reject(Reject(line, _shown(cells, self._file.phone_column), attendee), rejects_file)
        if batch:
            yield batch

    def _attendee(
        self, line: int, cells: list[str], lines_by_barcode: dict[str, int], copies: dict[Phone, int]
    ) -> Attendee | Reason:
        fields = self._file.record(cells)
        phone = self._reader.read(fields[self._file.columns[self._file.phone_column]])
        if isinstance(phone, Reason):
            return phone
        barcode = fields.get(self._barcode_column or "", "")
        if not barcode and self._generates:
            barcode = new_barcode_id()
        if not _BARCODE.fullmatch(barcode):
            return _wrong_barcode(barcode)
        if (first := lines_by_barcode.setdefault(barcode, line)) != line:
            return _Duplicate(f"the barcode id is used in line {first} already")
        if any(UNSENDABLE.search(fields[column]) for column in self._used):
            return Reason("a column that is sent holds a control character")
        copy = copies.get(phone, 0)
        copies[phone] = copy + 1
        return Attendee(line, phone, barcode, copy, fields)

    def _reject(self, reject: Reject, rejects_file: RejectsFile | None) -> None:
        if isinstance(reject.reason, _Duplicate):
            self.duplicate += 1
        else:
            self.invalid += 1
        if len(self.first_rejects) < _FIRST_REJECTS:
            self.first_rejects.append(reject)
        if rejects_file:
            rejects_file.add(reject)


class _Duplicate(Reason):
    """Why a row is a duplicate, not invalid."""


def _shown(cells: list[str], column: int) -> str:
    return cells[column] if column < len(cells) else ""


def _wrong_barcode(barcode: str) -> Reason:
    if not barcode:
        return Reason("the barcode id is missing")
    return Reason("the barcode id is not 1 to 32 letters (a-z), digits, dashes or underscores")


def _barcode_column(file: CsvFile, *, generates: bool) -> str | None:
    named = [name for name in BARCODE_COLUMNS if name in file.columns]
    if len(named) > 1:
        raise InputError("attendees", f"{file.path} has more than one column of codes: {', '.join(named)}")
    column = named[0] if named else None
    if column is None and not generates:
        found = ", ".join(file.columns)
        raise InputError("attendees", f'{file.path} has no column barcode_id (it has {found}); or say barcode = "generate"')
    return column


def _used_columns(event: TicketEvent, file: CsvFile) -> frozenset[str]:
    """The columns whose values are sent. Refuses an event that names columns its attendees do not have."""
    templates = [*event.custom_texts.values(), event.custom_subject or ""]
    named = [column for template in templates for column in _PLACEHOLDER.findall(template)] + list(event.data.values())
    missing = sorted({column for column in named if column.casefold() not in file.columns})
    if missing:
        found = ", ".join(file.columns)
        raise InputError("attendees", f"{file.path} has no column {', '.join(missing)}; it has {found}")
    return frozenset(column.casefold() for column in named)


def _conflicts(gateways: Collection[str], data: Mapping[str, object]) -> list[inputfile.Problem]:
    """What is wrong with several keys together, or with the gateway that is to send it."""
    problems = unknown_gateway(gateways, data)
    if data.get("ddm_text") is None and (data.get("ddm_title") is not None or data.get("ddm_timeout") is not None):
        problems.append(("ddm_text", "is missing; the provider requires it where a discovery message is sent"))
    texts = data.get("custom_texts")
    if isinstance(texts, dict) and not all(re.fullmatch(r"[1-9][0-9]?", slide) for slide in texts):
        problems.append(("custom_texts", 'expected slide numbers as keys, like { "1" = "Hello {first_name}" }'))
    return problems
