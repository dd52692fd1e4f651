"""A campaign file (TOML) as a checked ``Campaign``: what is sent, to which file of recipients, and when.

Every problem of a file is reported at once. This module reads files; it never sends or stores anything.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    PrivateAttr,
)

from posthorn.content.definition import CampaignContent
from posthorn.content.filenames import existing
from posthorn.content.inputfile import (
    MaxCost,
    OnRepeat,
    Problem,
    checked_name,
    hash_of_list,
    input_error,
    read_model,
    sha256_of,
    unknown_gateway,
)
from posthorn.content.media.files import check_media, media_name, retired_types_warning
from posthorn.content.media.looks import Look, look, weight_cautions
from posthorn.content.media.urls import look_at_url, page_caution
from posthorn.content.moments import FIRST_YEAR, LAST_YEAR
from posthorn.content.recipients.csvfile import Wanted
from posthorn.content.selection import OnlyWhere, values_by_column
from posthorn.content.warnings import Caution
from posthorn.content.waves import USUAL_HALT, HaltText, Ramp, WaitText, Waves, read_halt
from posthorn.content.words import placeholder_problem, refuse_unshown
from posthorn.errors import InputError
from posthorn.hours import Hours, read_hours
from posthorn.models import NO_LIMIT, Bounds, Media
from posthorn.settings import HoursText

MAX_TEXT = 5_000
"""Characters of a text. The limit is our own: the provider, which stores the text as a file, names none."""


def _checked_title(title: str) -> str:
    refuse_unshown(title)  # the gateway sets its longest length
    return title.strip()  # XML answers lose the spaces around it, and lookups compare it


def _checked_text(text: str) -> str:
    if not text.strip():
        raise ValueError("expected some text; leave the key out if there is none")
    if len(text) > MAX_TEXT:
        raise ValueError(f"expected at most {MAX_TEXT:,} characters ({len(text):,} are given); Posthorn's own limit")
    refuse_unshown(text, allowed="\n\r\t")
    return text


def _checked_media(sources: list[str]) -> list[str]:
    repeated = sorted({source for source in sources if sources.count(source) > 1})
    if repeated:
        raise ValueError(f"expected each item once; {', '.join(repeated)} is given again")
    return sources


def _checked_source(source: str) -> str:
    if not source.strip():
        raise ValueError("expected a path or a URL")
    try:
        refuse_unshown(source)
    except ValueError as error:
        raise ValueError(f"expected a path or a URL, not one with {str(error).partition('; ')[2]}") from None
    return source


def _checked_list(source: str) -> str:
    _checked_source(source)
    if "://" in source:
        raise ValueError("expected a file on this machine, not a URL: download the list as CSV first")
    return source


def _checked_moment(moment: datetime) -> datetime:
    if moment.utcoffset() is None:
        raise ValueError("expected an offset from UTC, as in 2026-11-30T09:00:00+01:00; without it the moment is ambiguous")
    if not FIRST_YEAR <= moment.year <= LAST_YEAR:  # outside these years, another time zone may have no date for it
        raise ValueError(f"expected a moment of the years {FIRST_YEAR} to {LAST_YEAR}")
    return moment


Source = Annotated[str, AfterValidator(_checked_source)]


class Campaign(BaseModel):
    """One MMS to many recipients, as its file describes it. Paths are relative to the file's folder."""

    model_config = ConfigDict(strict=True, frozen=True, extra="forbid", hide_input_in_errors=True)

    name: Annotated[str, AfterValidator(checked_name)] = Field(description="Identity: running it again resumes")
    title: Annotated[str, AfterValidator(_checked_title)] = Field(description="Title of the MMS")
    text: Annotated[str, AfterValidator(_checked_text)] | None = Field(
        None, description="Words of the MMS, up to 5,000 characters"
    )
    media: Annotated[list[Source], AfterValidator(_checked_media)] = Field(
        default_factory=list, description="Paths or URLs of its files"
    )
    recipients: Annotated[str, AfterValidator(_checked_list)] = Field(
        description="CSV with a column of numbers, or one number per line"
    )
    column: str | None = Field(None, description="The column of numbers, if its name does not say so")
    only_where: OnlyWhere = Field(default_factory=dict, description='Which rows count, as in { zgoda = "tak" }')
    landlines: bool = Field(False, description="Landline numbers are taken too")
    literal: bool = Field(False, description="Text that looks like a placeholder is meant literally")
    strict: bool = Field(False, description="Warnings block")
    send_at: Annotated[datetime, AfterValidator(_checked_moment)] | None = Field(
        None, description="When the provider dispatches it; with its offset from UTC"
    )
    test: bool = Field(False, description="The provider checks the request and sends nothing")
    gateway: str | None = Field(None, description="Which gateway sends it, if there are several")
    chunk_size: int | None = Field(None, ge=1, description="Numbers per request, instead of the setting")
    hold_minutes: int | None = Field(
        None, ge=0, le=10_080, description="The provider keeps the messages this long, so that they can be withdrawn"
    )
    verify: Literal["listed", "trust"] = Field(
        "listed", description='What proves the files before a send; "trust" sends although no list shows them'
    )
    resend_unconfirmed: bool = Field(False, description="Send again what a lookup does not find at the provider")
    canary: int | None = Field(None, ge=1, description="This many people, a sample of the list, get it first")
    canary_wait: WaitText | None = Field(None, description="How long to wait for reports after each wave, such as 30m")
    ramp: Ramp | None = Field(None, description="Rising shares of the rest, sent one after the other, up to 1")
    halt_at: HaltText | None = Field(None, description="When it stops, such as 5 % of at least 50")
    max_cost: MaxCost | None = Field(None, description="Most that it may cost: it stops before more is spent")
    send_hours: HoursText | None = Field(
        None, description="Narrower hours than POSTHORN_SEND_HOURS; wider ones need an approval"
    )
    approve: bool = Field(False, description="A person must approve it before the first send, however small it is")
    on_repeat: OnRepeat | None = Field(None, description="If some got the same message lately: refuse, skip or send")
    allow_repeat: bool = Field(False, description='The same as on_repeat = "send"')

    _folder: Path = PrivateAttr(default=Path())
    _bounds: Bounds = PrivateAttr(default_factory=Bounds)

    @property
    def recipients_path(self) -> Path:
        """The path of the recipients file."""
        return existing(self._folder / self.recipients, "recipients")

    def wanted(self, region: str) -> Wanted:
        """What the file says about its list of recipients: columns, rows that count, region."""
        return Wanted(region, self.column, values_by_column(self.only_where))

    def wave_options(self) -> dict[str, object]:
        """The keys about pace and waves that the file sets, as JSON values."""
        chosen = {"canary": self.canary, "canary_wait": self.canary_wait, "ramp": self.ramp, "halt_at": self.halt_at}
        return {key: value for key, value in chosen.items() if value is not None}

    @property
    def waves(self) -> Waves | None:
        """The waves it is sent in; None if it is sent all at once and nothing halts it."""
        return None if self.test else Waves.of(self.wave_options())

    def repeat(self) -> OnRepeat:
        """What to do about numbers that got the same message lately."""
        return self.on_repeat or ("send" if self.allow_repeat else "refuse")

    @property
    def hours(self) -> Hours | None:
        """The send hours that the file sets."""
        return None if self.send_hours is None else read_hours(self.send_hours)

    def selection(self) -> dict[str, object]:
        """The keys that select rows of the list and that the file sets, as JSON values."""
        chosen = {"column": self.column, "only_where": self.only_where, "landlines": self.landlines}
        return {key: value for key, value in chosen.items() if value}

    def list_hash(self, region: str, sha256: str | None = None) -> str:
        """The identity of a list: the hash of its bytes (computed here if not given), and which rows are selected.

        Raises:
            InputError: it cannot be read.
        """
        return hash_of_list(sha256 or sha256_of(self.recipients_path, "recipients"), region, self.selection())

    def check(self, now: datetime, *, allow_loopback: bool = False) -> None:
        """Check what the file alone cannot show: ``send_at`` against ``now``, the media, the recipients file.

        Raises:
            InputError: with every problem.
        """
        problems = []
        if self.send_at is not None and self.send_at <= now:
            moment = self.send_at.isoformat(sep=" ", timespec="minutes")
            problems.append(("send_at", f"{moment} has passed; expected a moment to come, or leave it out to send at once"))
        elif self.send_at is not None and self.waves and self.waves.canary:
            first = now + timedelta(seconds=self.waves.wait_seconds)
            if self.send_at <= first:
                problems.append(("send_at", "is before the canary's reports are waited for; expected a later moment"))
        items, media_problems = self._media(allow_loopback=allow_loopback)
        problems += [*media_problems, *self._looks(items)[1]]
        if not self.recipients_path.is_file():
            problems.append(("recipients", f"{self.recipients_path} is not a file"))
        if problems:
            raise input_error(problems)

    def looks(self, *, allow_loopback: bool = False) -> list[Look]:
        """What was found in each media file. URLs are not looked at here.

        Raises:
            InputError: a file is not what its name says.
        """
        looks, problems = self._looks(self.media_items(allow_loopback=allow_loopback))
        if problems:
            raise input_error(problems)
        return looks

    def _looks(self, items: list[Media]) -> tuple[list[Look], list[Problem]]:
        looks, problems = [], []
        for item in items:
            if item.path is None:
                continue
            try:
                looks.append(look(Path(item.path), item.source))
            except InputError as error:
                problems.append((error.field, error.problem))
        return looks, problems

    def media_items(self, *, allow_loopback: bool = False) -> list[Media]:
        """The media, each checked and hashed, in the file's order.

        Raises:
            InputError: with every item that cannot be used.
        """
        items, problems = self._media(allow_loopback=allow_loopback)
        if problems:
            raise input_error(problems)
        return items

    def _media(self, *, allow_loopback: bool) -> tuple[list[Media], list[Problem]]:
        items, problems = [], []
        for source in self.media:
            try:
                items.append(check_media(source, self._folder, allow_loopback=allow_loopback))
            except InputError as error:
                problems.append((error.field, error.problem))
        return items, problems

    def warnings(self, *, allow_loopback: bool = False) -> list[Caution]:
        """Warnings about the file and its media on disk: what is allowed but unwise."""
        low, high = self._bounds.numbers_advised
        found = []
        if self.chunk_size is not None and not low <= self.chunk_size <= high:
            found.append(
                Caution(
                    "chunk_size", f"chunk_size: {self.chunk_size} is outside the {low} to {high} that the provider advises"
                )
            )
        retired = retired_types_warning(map(media_name, self.media))
        if retired:
            found.append(Caution("media_type", retired))
        if not self.media:
            found.append(
                Caution(
                    "no_media", "media: there are none; the provider's documentation does not say that it sends text alone"
                )
            )
        pages = (page_caution(source) for source in self.media if "://" in source)
        return [*found, *(page for page in pages if page), *weight_cautions(self.looks(allow_loopback=allow_loopback))]

    def url_warnings(self, *, allow_loopback: bool = False) -> list[Caution]:
        """Warnings about each media URL, found over the network."""
        urls = [source for source in self.media if "://" in source and page_caution(source) is None]
        found = (look_at_url(source, allow_loopback=allow_loopback) for source in urls)
        return [caution for caution in found if caution]

    def content(self, *, allow_loopback: bool = False) -> CampaignContent:
        """What this campaign sends, without paths, pace or recipients. This reads the media.

        Raises:
            InputError: a file cannot be used.
        """
        items = self.media_items(allow_loopback=allow_loopback)
        chosen = {"gateway": self.gateway} if self.gateway else {}
        return CampaignContent(
            title=self.title,
            text=self.text,
            media=[f"sha256:{item.sha256}" if item.sha256 else item.source for item in items],
            send_at=self.send_at.astimezone(UTC) if self.send_at else None,
            hold_minutes=self.hold_minutes,
            test=self.test,
            **chosen,
        )


def load_campaign(path: Path, gateways: Mapping[str, Bounds]) -> Campaign:
    """The campaign described in ``path``; ``gateways`` are those it may name, with their bounds; the default is first.

    Raises:
        InputError: the file cannot be read, is not TOML, or has wrong values; each problem is on its own line.
    """
    campaign = read_model(path, Campaign, "campaign file", functools.partial(_conflicts, gateways))
    campaign._folder = path.parent  # noqa: SLF001 - set once, here: no key of the file may name it
    campaign._bounds = _bounds_of(gateways, campaign.gateway)  # noqa: SLF001 - see above
    return campaign


def _bounds_of(gateways: Mapping[str, Bounds], name: object) -> Bounds:
    """The bounds of the gateway that the file names; those of the default if it names none or an unknown one."""
    return gateways[name] if isinstance(name, str) and name in gateways else next(iter(gateways.values()))


def _beyond(bounds: Bounds, data: Mapping[str, object]) -> Iterator[Problem]:
    """What its gateway does not accept."""
    title, media, chunk_size = data.get("title"), data.get("media"), data.get("chunk_size")
    if isinstance(title, str) and not (title.strip() and len(title) <= bounds.title_characters):
        expected = f"1 to {bounds.title_characters}" if bounds.title_characters < NO_LIMIT else "at least 1"
        joined = "; an emoji may count as several" if any(one > "\uffff" or one in "\u200d\ufe0f" for one in title) else ""
        yield "title", f"expected {expected} characters ({len(title)} are given{joined})"
    if isinstance(media, list) and len(media) > bounds.files_per_message:
        yield "media", f"expected at most {bounds.files_per_message} items ({len(media)} are given)"
    if isinstance(chunk_size, int) and chunk_size > bounds.numbers_per_request:
        yield "chunk_size", f"expected a whole number from 1 to {bounds.numbers_per_request}"


def _conflicts(gateways: Mapping[str, Bounds], data: Mapping[str, object]) -> list[Problem]:
    """Problems with combinations of keys, and with what the gateway does not accept."""
    problems = [*unknown_gateway(gateways, data), *_beyond(_bounds_of(gateways, data.get("gateway")), data)]
    for key in () if data.get("literal") is True else ("title", "text"):
        words = data.get(key)
        if isinstance(words, str) and (problem := placeholder_problem(words)):
            problems.append((key, problem))
    if data.get("text") is None and not data.get("media"):
        problems.append(("text", "is missing, and so are media; expected at least one of them"))
    if data.get("send_at") is not None and data.get("hold_minutes") is not None:
        problems.append(("hold_minutes", "expected either this or send_at: both say when the provider dispatches"))
    return [*problems, *_wave_conflicts(data)]


def _wave_conflicts(data: Mapping[str, object]) -> Iterator[Problem]:
    """Problems with the keys about pace and waves."""
    canary, halt_at = data.get("canary"), data.get("halt_at")
    if canary is None:
        for key in ("canary_wait", "ramp"):
            if data.get(key) is not None:
                yield key, "needs a canary; add canary = 200, or leave it out"
        return
    if data.get("hold_minutes"):
        yield "hold_minutes", "expected either this or a canary: a canary goes at once, so that its reports can come"
    try:
        least = read_halt(halt_at if isinstance(halt_at, str) else USUAL_HALT).least
    except ValueError:
        return  # reported already
    if isinstance(canary, int) and 0 < canary < least:
        yield "canary", f"expected at least {least}: halt_at ({halt_at or USUAL_HALT}) needs so many to judge by"
