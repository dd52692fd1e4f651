"""One input that somebody once gave a mailing tool: the files, and what `check` has to say about them."""

from __future__ import annotations

import io
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from PIL import Image

CAMPAIGN = {"name": '"sale"', "title": '"Sale"', "text": '"-30%"', "media": '["poster.png"]', "recipients": '"list.csv"'}
EVENT = {"name": '"gala"', "mms_id": "35674", "from": "60856", "attendees": '"list.csv"'}


@dataclass(frozen=True, slots=True)
class Case:
    """``content`` is the list; ``keys`` are TOML values, as text (None takes a key away); ``files`` lie beside it.

    ``code`` is the exit code, ``said`` are words of the report or the refusal, ``valid`` is the number of those who get it.
    """

    id: str
    content: bytes | str = "phone\n500600700\n"
    code: int = 0
    said: tuple[str, ...] = ()
    valid: int | None = None
    keys: Mapping[str, str | None] = field(default_factory=dict)
    files: Mapping[str, bytes] = field(default_factory=dict)
    toml: str | None = None
    is_event: bool = False

    def write(self, folder: Path) -> Path:
        """Write the files; returns the campaign or event file."""
        content = self.content.encode() if isinstance(self.content, str) else self.content
        (folder / "list.csv").write_bytes(content)
        for name, data in ({"poster.png": picture("PNG")} | dict(self.files)).items():
            (folder / name).write_bytes(data)
        keys = (EVENT if self.is_event else CAMPAIGN) | dict(self.keys)
        lines = [f"{key} = {value}" for key, value in keys.items() if value is not None]
        file = folder / ("gala.toml" if self.is_event else "sale.toml")
        file.write_text(self.toml if self.toml is not None else "\n".join(lines) + "\n", encoding="utf-8")
        return file


def picture(kind: str, size: tuple[int, int] = (8, 8), mode: str = "RGB", **options: object) -> bytes:
    """A picture of one colour."""
    content = io.BytesIO()
    Image.new(mode, size).save(content, kind, **options)
    return content.getvalue()


def noise(kind: str, side: int, **options: object) -> bytes:
    """A picture that no format makes small."""
    content = io.BytesIO()
    Image.effect_noise((side, side), 100).convert("RGB").save(content, kind, **options)
    return content.getvalue()


def animation(side: int) -> bytes:
    """An animated GIF of noise."""
    frames = [Image.effect_noise((side, side), 100) for _ in range(3)]
    content = io.BytesIO()
    frames[0].save(content, "GIF", save_all=True, append_images=frames[1:])
    return content.getvalue()
