"""What is said of whom must not be messaged: by the check, the approval, the export and the metrics."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path

import orjson
import pytest

from posthorn.delivery.deciding.resend import resend_named
from posthorn.delivery.planning.check import examine
from posthorn.delivery.planning.checked import Checked
from posthorn.delivery.planning.load import load_wish
from posthorn.delivery.planning.plan import plan_file
from posthorn.errors import InputError
from posthorn.ledger import suppression
from posthorn.ledger.store.engine import open_ledger
from posthorn.models import Kind, OptOut, Phone, Scope
from posthorn.sandbox.server import Sandbox
from posthorn.settings import SerwerSmsSettings, Settings
from posthorn.views.checked import check_json, check_text
from posthorn.views.export import export_csv
from posthorn.views.metrics import CreditWatch, LedgerCollector
from tests.delivery.journey import deliver, numbers, question_of, status_of, write_campaign

NUMBERS = numbers(4)


def check_file(file: Path, settings: Settings) -> Checked:
    return examine(load_wish(file, Kind.CAMPAIGN, settings))


def test_a_check_counts_whom_a_plan_would_suppress_and_charges_nothing_for_them(settings: Settings, tmp_path: Path) -> None:
    settings.serwersms.price_per_message = Decimal(2)
    with open_ledger(settings) as ledger:
        suppression.add(ledger, [OptOut(Phone(48500000001), Scope.MARKETING, "person")], by="ann")
    file = write_campaign(tmp_path, NUMBERS)
    told = orjson.loads(check_json(check_file(file, settings)))
    assert (told["rows"], told["valid"], told["suppressed"], told["cost"]) == (4, 4, 1, "6")
    assert "4: 4 valid (1 of them suppressed: not to be messaged)" in check_text(check_file(file, settings))
    plan_file(file, settings)
    assert status_of("sale", settings)["totals"]["suppressed"] == 1
    assert orjson.loads(check_json(check_file(file, settings)))["suppressed"] == 1, "planned already"


def test_an_approval_shows_how_many_are_not_to_be_messaged(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("posthorn.delivery.deciding.approval.load_settings", lambda: settings)
    with open_ledger(settings) as ledger:
        suppression.add(ledger, [OptOut(Phone(48500000001), Scope.MARKETING, "person")], by="ann")
    plan_file(write_campaign(tmp_path, NUMBERS, approve="true"), settings)
    question = question_of("sale")
    assert question is not None
    assert ("messages to send", "3 of 4 rows") in question.rows
    assert ("not to be messaged", "1 are suppressed") in question.rows


def test_an_export_says_in_words_why_somebody_was_not_messaged(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("POSTHORN_DATABASE_URL", settings.database_url)
    with open_ledger(settings) as ledger:
        suppression.add(ledger, [OptOut(Phone(48500000001), Scope.MARKETING, "reply")], by="serwersms")
    plan_file(write_campaign(tmp_path, NUMBERS), settings)
    export_csv(Kind.CAMPAIGN, "sale", tmp_path / "out.csv", plain=True)
    assert "suppressed,opt-out:reply,the number answered with a stop word" in (tmp_path / "out.csv").read_text("utf-8")


def test_the_metrics_count_the_list_and_its_changes(settings: Settings) -> None:
    with open_ledger(settings) as ledger:
        credit = CreditWatch(settings.model_copy(update={"serwersms": SerwerSmsSettings()}))
        collector = LedgerCollector(ledger, credit, settings)

        def told() -> dict[tuple[str, ...], float]:
            samples = [one for family in collector.collect() for one in family.samples]
            return {tuple(one.labels.values()): one.value for one in samples if one.name == "posthorn_suppressed_numbers"}

        assert told() == {}
        suppression.add(ledger, [OptOut(Phone(48500000001), Scope.MARKETING, "reply")], by="serwersms")
        assert told() == {("marketing", "reply"): 1}
        suppression.remove(ledger, Phone(48500000001), list(Scope), by="ann", why="asked")
        assert told() == {}


async def test_a_suppressed_message_goes_out_after_all_only_once_its_number_is_removed_and_a_person_names_it(
    box: Sandbox, settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in ("meant", "resend"):
        monkeypatch.setattr(f"posthorn.delivery.deciding.{module}.load_settings", lambda: settings)
    left_out, file = Phone(48500000001), write_campaign(tmp_path, NUMBERS)

    def resend() -> int:
        words = {"numbers": ["+48500000001"], "although_taken": False, "by": "ann", "why": "they asked for it"}
        return resend_named(Kind.CAMPAIGN, "sale", **words).resent

    with open_ledger(settings) as ledger:
        suppression.add(ledger, [OptOut(left_out, Scope.MARKETING, "person")], by="ann")
        await deliver(file, settings)
        with pytest.raises(InputError, match=r"posthorn suppress remove PHONE --why"):
            resend()
        suppression.remove(ledger, left_out, list(Scope), by="ann", why="asked to be back")
        assert (await deliver(file, settings))["totals"]["suppressed"] == 1, "the same file again revives nobody"
        assert resend() == 1
        suppression.add(ledger, [OptOut(left_out, Scope.ALL, "person")], by="ann")
        assert (await deliver(file, settings))["totals"]["suppressed"] == 1, "heard again before it was claimed"
        suppression.remove(ledger, left_out, list(Scope), by="ann", why="asked to be back")
        assert resend() == 1
    status = await deliver(file, settings)
    assert (status["totals"]["suppressed"], status["balanced"]) == (0, True)
    sent = [phone for batch in box.serwersms.account.messages.batches for phone in batch.phones]
    assert sorted(sent) == NUMBERS, "each once"
