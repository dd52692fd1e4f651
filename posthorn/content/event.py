"""An event file (TOML) as a checked ``TicketEvent``, and its attendees: who gets which code.

It never sends or stores anything.
"""

from __future__ import annotations

import functools
import re
from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal, NamedTuple

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, PrivateAttr

from posthorn.content import inputfile
from posthorn.content.definition import EventContent
from posthorn.content.filenames import existing
from posthorn.content.inputfile import MaxCost, OnRepeat, checked_name, hash_of_list, read_model, sha256_of, unknown_gateway
from posthorn.content.media.barcode import new_barcode_id
from posthorn.content.plain import plain
from posthorn.content.recipients.codes import CodeRules, WrongCode, alike_caution, code_column, wrong_code
from posthorn.content.recipients.columns import listed
from posthorn.content.recipients.csvfile import CsvFile, Wanted, open_csv
from posthorn.content.recipients.intake import phone_reader
from posthorn.content.recipients.phones import Reason
from posthorn.content.recipients.rejects import Reject, RejectsFile
from posthorn.content.selection import OnlyWhere, values_by_column
from posthorn.content.warnings import Caution
from posthorn.content.words import placeholder_problem
from posthorn.errors import InputError
from posthorn.hours import Hours, read_hours
from posthorn.models import UNSENDABLE, Phone
from posthorn.settings import HoursText

BATCH = 5_000
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
        None, description="Campaign at the provider, if the account requires one"
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
    from_mask: str | None = Field(None, description="Alphanumeric sender, if the country allows one")
    column: str | None = Field(None, description="The column of numbers, if its name does not say so")
    barcode_column: str | None = Field(None, description="The column of codes; empty: no column has codes")
    only_where: OnlyWhere = Field(default_factory=dict, description='Which rows count, as in { paid = "yes" }')
    landlines: bool = Field(False, description="Landline numbers are taken too")
    literal: bool = Field(False, description="Text that looks like a placeholder is meant literally")
    strict: bool = Field(False, description="Warnings block")
    approve: bool = Field(False, description="A person must approve it before the first send, however small it is")
    gateway: str | None = Field(None, description="Which gateway sends it, if there are several")
    max_cost: MaxCost | None = Field(None, description="Most that it may cost: it stops before more is spent")
    send_hours: HoursText | None = Field(
        None, description="Narrower hours than POSTHORN_SEND_HOURS; wider ones need an approval"
    )
    opt_outs: Literal["all", "marketing"] = Field(
        "all", description="Who gets no ticket: who wants nothing at all, or (marketing) also who wants no campaigns"
    )
    key: str | None = Field(None, description="The column that identifies rows without codes, such as an order number")
    on_repeat: OnRepeat | None = Field(None, description="If some got the same MMS lately: refuse, skip or send")
    allow_repeat: bool = Field(False, description='The same as on_repeat = "send"')
    allow_code_reuse: bool = Field(
        False, description="A code may be another event's of the same MMS: one template, many doors"
    )

    _folder: Path = PrivateAttr(default=Path())

    @property
    def attendees_path(self) -> Path:
        """The path of the attendees file."""
        return existing(self._folder / self.attendees, "attendees")

    def wanted(self, region: str) -> Wanted:
        """What the file says about its list of attendees: columns, rows that count, region."""
        return Wanted(region, self.column, values_by_column(self.only_where))

    @property
    def hours(self) -> Hours | None:
        """The send hours that the file sets."""
        return None if self.send_hours is None else read_hours(self.send_hours)

    def selection(self) -> dict[str, object]:
        """The keys that select rows and codes of the list and that the file sets, as JSON values."""
        chosen = {
            "column": self.column,
            "barcode_column": self.barcode_column,
            "only_where": self.only_where,
            "landlines": self.landlines,
        }
        return {key: value for key, value in chosen.items() if value or (key == "barcode_column" and value is not None)}

    def content(self) -> EventContent:
        """What its tickets are made of, without paths, people, times and costs."""
        chosen = set(EventContent.model_fields) - (set() if self.gateway else {"gateway"})
        return EventContent.model_validate(self.model_dump(by_alias=True, include=chosen))

    def list_hash(self, region: str, sha256: str | None = None) -> str:
        """The identity of a list: the hash of its bytes (computed here if not given), and which rows are selected.

        Raises:
            InputError: it cannot be read.
        """
        return hash_of_list(
            sha256 or sha256_of(self.attendees_path, "attendees"), region, self.selection(), self.key, self.barcode
        )

    def repeat(self) -> OnRepeat:
        """What to do about numbers that got the same MMS lately."""
        return self.on_repeat or ("send" if self.allow_repeat else "refuse")


@dataclass(frozen=True, slots=True)
class Attendee:
    """One valid row. ``copy`` counts earlier tickets of the same number; ``fields`` are the row's columns.

    ``is_generated``: the row has no code, ``barcode`` was made for it by this reading.
    """

    line: int
    phone: Phone
    barcode: str
    copy: int
    fields: dict[str, str]
    is_generated: bool = False


def load_event(path: Path, gateways: Collection[str]) -> TicketEvent:
    """The event described in ``path``; ``gateways`` are the names that it may use.

    Raises:
        InputError: the file cannot be read, is not TOML, or has wrong values; each problem is on its own line.
    """
    event = read_model(path, TicketEvent, "event file", functools.partial(_conflicts, gateways))
    event._folder = path.parent  # noqa: SLF001 - set once, here: no key of the file may name it
    return event


def fill(template: str, fields: Mapping[str, str]) -> str:
    """The template with each ``{column}`` replaced by the attendee's value."""
    return _PLACEHOLDER.sub(lambda found: fields.get(found[1].casefold(), ""), template)


class AttendeeIntake:
    """A file of attendees. Iterating yields batches and updates the counters, which start again with each iteration.

    ``input`` is always ``accepted + invalid + duplicate``. ``first_rejects`` holds the first 100 rejects; the rejects file,
    if one is asked for, holds all of them.
    """

    def __init__(self, event: TicketEvent, region: str, rejects: Path | None, *, code_length: int = 32) -> None:
        self._file = open_csv(event.attendees_path, "attendees", event.wanted(region))
        self._reader = phone_reader(self._file, region, landlines=event.landlines)
        self._generates = event.barcode == "generate"
        self._rules = CodeRules(code_length)
        self._code_index = code_column(self._file, event.barcode_column, self._rules, generates=self._generates)
        self._used = _used_columns(event, self._file)
        self._key = event.key
        if self.key is not None and self.key not in self._file.columns:
            raise InputError(
                "key", f"{event.attendees_path} has no column {plain(event.key or '')}; {listed(self._file.titles)}"
            )
        self.file = self._file
        self.path = event.attendees_path
        self.sha256 = self._file.sha256
        self.rejects = rejects
        self.accepted = self.invalid = self.duplicate = self.left_out = self.generated = 0
        self.keep_rejects = _FIRST_REJECTS
        self.reasons: Counter[str] = Counter()
        self.first_rejects: list[Reject] = []
        self._alike: list[tuple[int, int, str, str]] = []

    @property
    def own_columns(self) -> list[str]:
        """The columns of the number and the code. A decision in the ledger may change their values."""
        return [self._file.columns[at] for at in (self._file.phone_column, self._code_index) if at is not None]

    @property
    def key(self) -> str | None:
        """The column that identifies rows without codes, as the rows' fields have it."""
        return None if self._key is None else self._key.casefold()

    @property
    def code_title(self) -> str | None:
        """The column of codes as the list names it, safe to show; None if there is none."""
        return None if self._code_index is None else plain(self._file.titles[self._code_index], most=60)

    def warnings(self) -> list[Caution]:
        """What is odd about the codes; complete once the rows have been read."""
        return alike_caution(self._alike)

    @property
    def sent_columns(self) -> frozenset[str]:
        """The columns whose values are sent with a ticket."""
        return self._used

    @property
    def input(self) -> int:
        """Rows of the file, so far."""
        return self.accepted + self.invalid + self.duplicate

    def __iter__(self) -> Iterator[list[Attendee]]:
        self.accepted = self.invalid = self.duplicate = self.left_out = self.generated = 0
        self.first_rejects, self._alike = [], []
        self.reasons = Counter()
        lines_by_barcode: dict[str, _Seen] = {}
        copies: dict[Phone, int] = {}
        batch: list[Attendee] = []
        with RejectsFile(self.rejects) if self.rejects else nullcontext() as rejects_file:
            for line, cells, problem in self._file.rows():
                if problem is None and not self._file.counts(cells):
                    self.left_out += 1
                    continue
                attendee = problem or self._attendee(line, cells, lines_by_barcode, copies)
                if isinstance(attendee, Attendee):
                    self.accepted += 1
                    batch.append(attendee)
                    if len(batch) == BATCH:
                        yield batch
                        batch = []
                else:
                    index = self._code_index if isinstance(attendee, WrongCode) else self._file.phone_column
                    self._reject(Reject(line, _shown(cells, index or 0), attendee), rejects_file)
        if batch:
            yield batch

    def _attendee(self, line: int, cells: list[str], codes: dict[str, _Seen], copies: dict[Phone, int]) -> Attendee | Reason:
        fields = self._file.record(cells)
        phone = self._reader.read(fields[self._file.columns[self._file.phone_column]])
        if isinstance(phone, Reason):
            return phone
        barcode = _shown(cells, self._code_index).strip() if self._code_index is not None else ""
        is_generated = not barcode and self._generates
        if is_generated:
            barcode = new_barcode_id()
        if problem := wrong_code(barcode, self._rules):
            return problem
        shape, own = barcode.casefold().lstrip("0"), _Seen(line, barcode, phone)
        if (alike := codes.setdefault(shape, own)) is not own:
            same = alike if alike.code == barcode else codes.setdefault(f"={barcode}", own)
            if same is not own:
                return _used_already(same, phone)
            self._alike.append((alike.line, line, alike.code, barcode))
        if any(UNSENDABLE.search(fields[column]) for column in self._used):
            return Reason("a column that is sent holds a control character")
        copy = copies.get(phone, 0)
        copies[phone] = copy + 1
        self.generated += is_generated
        return Attendee(line, phone, barcode, copy, fields, is_generated)

    def _reject(self, reject: Reject, rejects_file: RejectsFile | None) -> None:
        if isinstance(reject.reason, _Duplicate):
            self.duplicate += 1
        else:
            self.invalid += 1
            self.reasons[str(reject.reason)] += 1
        if len(self.first_rejects) < self.keep_rejects:
            self.first_rejects.append(reject)
        if rejects_file:
            rejects_file.add(reject)


class _Duplicate(Reason):
    """Why a row is a duplicate, not invalid."""


class _Seen(NamedTuple):
    """The row in which a code comes first."""

    line: int
    code: str
    phone: Phone


def _used_already(first: _Seen, phone: Phone) -> Reason:
    """Why a row that repeats an earlier code is left out. With another number it is another person, who gets no ticket."""
    if first.phone == phone:
        return _Duplicate(f"the barcode id is used in line {first.line} already")
    return Reason(f"the barcode id is used in line {first.line} already, for another number")


def _shown(cells: list[str], column: int) -> str:
    return cells[column] if column < len(cells) else ""


def _used_columns(event: TicketEvent, file: CsvFile) -> frozenset[str]:
    """The columns whose values are sent. Refuses an event that names columns its attendees file does not have."""
    templates = [*event.custom_texts.values(), event.custom_subject or ""]
    named = [column for template in templates for column in _PLACEHOLDER.findall(template)] + list(event.data.values())
    missing = sorted({column for column in named if column.casefold() not in file.columns})
    if missing:
        raise InputError(
            "attendees",
            f"{file.path} has no column {listed(missing)}, which a placeholder or data names; it has {listed(file.titles)}",
        )
    return frozenset(column.casefold() for column in named)


def _conflicts(gateways: Collection[str], data: Mapping[str, object]) -> list[inputfile.Problem]:
    """Problems with combinations of keys, and with the gateway that sends it."""
    problems = unknown_gateway(gateways, data)
    if data.get("ddm_text") is None and (data.get("ddm_title") is not None or data.get("ddm_timeout") is not None):
        problems.append(("ddm_text", "is missing; the provider requires it if a discovery message is sent"))
    texts = data.get("custom_texts")
    problems += _unfilled(data, texts) if data.get("literal") is not True else []
    if isinstance(texts, dict) and not all(re.fullmatch(r"[1-9][0-9]?", slide) for slide in texts):
        problems.append(("custom_texts", 'expected slide numbers as keys, like { "1" = "Hello {first_name}" }'))
    return problems


def _unfilled(data: Mapping[str, object], texts: object) -> list[inputfile.Problem]:
    """Placeholders that nothing fills: any in the discovery message; in a template, all but ``{column}``."""
    plain_texts = {key: data.get(key) for key in ("ddm_title", "ddm_text")}
    templates = {"custom_subject": data.get("custom_subject")}
    if isinstance(texts, dict):
        templates |= {f"custom_texts.{slide}": text for slide, text in texts.items()}
    shown = plain_texts | {key: _PLACEHOLDER.sub("", text) for key, text in templates.items() if isinstance(text, str)}
    found = ((key, placeholder_problem(text)) for key, text in shown.items() if isinstance(text, str))
    return [(key, problem) for key, problem in found if problem]
