"""The files a provider keeps: one is used again for the same content at the same provider, and has to be verified anew."""

from __future__ import annotations

import dataclasses

from posthorn.ledger import media, planning
from posthorn.ledger.deliveries import Delivery
from posthorn.ledger.store.engine import Ledger
from posthorn.models import Media
from tests.ledger.ledgers import Listed, new_campaign, planned

POSTER = Media("poster.png", "poster.png", "image/png", "/poster.png", "ab" * 32, 7)
OTHER = Media("poster.png", "poster.png", "image/png", "/other/poster.png", "cd" * 32, 7)


def with_media(ledger: Ledger, name: str, item: Media, *, gateway: str = "serwersms") -> Delivery:
    new = dataclasses.replace(new_campaign(name), media=[item], gateway=gateway)
    campaign = planning.plan(ledger, new, Listed(10))
    assert campaign is not None
    return campaign


def test_a_file_is_known_by_its_content_and_provider_only(ledger: Ledger) -> None:
    monday = with_media(ledger, "monday", POSTER)
    (item,) = media.of(ledger, monday)
    media.keep_file_id(ledger, monday, item, "file-1")
    assert media.known_file_id(ledger, "serwersms", POSTER.sha256 or "") == "file-1"
    assert media.known_file_id(ledger, "serwersms", OTHER.sha256 or "") is None, "another picture of the same name"
    assert media.known_file_id(ledger, "another", POSTER.sha256 or "") is None, "another provider"
    friday = with_media(ledger, "friday", OTHER)
    (other,) = media.of(ledger, friday)
    media.keep_file_id(ledger, friday, other, "file-2")
    assert media.known_file_id(ledger, "serwersms", POSTER.sha256 or "") == "file-1"
    media.keep_file_id(ledger, monday, item, "file-3")
    assert media.known_file_id(ledger, "serwersms", POSTER.sha256 or "") == "file-3"
    assert [one.file_id for one in media.of(ledger, friday)] == ["file-2"]


def test_a_new_id_is_verified_anew(ledger: Ledger) -> None:
    campaign = planned(ledger)
    (item,) = media.of(ledger, campaign)
    media.keep_file_id(ledger, campaign, item, "file-1")
    media.keep_verified(ledger, campaign, item, verified=True)
    assert media.of(ledger, campaign)[0].verified_at is not None
    media.keep_file_id(ledger, campaign, item, "file-2")
    assert (media.of(ledger, campaign)[0].file_id, media.of(ledger, campaign)[0].verified_at) == ("file-2", None)
    media.keep_verified(ledger, campaign, item, verified=True)
    media.keep_verified(ledger, campaign, item, verified=False)
    assert media.of(ledger, campaign)[0].verified_at is None
