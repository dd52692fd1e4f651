"""The page on which a person decides whether something is sent: its pictures, its text as it will stand, its cost."""

from __future__ import annotations

import base64
from pathlib import Path

from posthorn.content.media.looks import look
from posthorn.content.media.thumbnails import thumbnail
from posthorn.delivery.deciding.approval import Question
from posthorn.errors import InputError
from posthorn.models import Kind, Media
from posthorn.views.markdown import table, written

_HOW = """**To decide**: Resume (⋮ → Resume in the menu of this run), choose *send it* or *do not send it*, and give a name.
Or use the form `approve`, or at a terminal `COMMAND approve NAME` (`--refuse` for a no). The word is for exactly
what is shown here: what changes afterwards is asked about again."""


def question_page(question: Question) -> str:
    """The question in Markdown. A picture is small here, with its real size and weight beside it."""
    said = dict(question.rows)
    parts = [f"# {written(question.name)}: send it?"]
    headline = [f"**{written(said[f'{question.kind.item}s to send'])}**", f"cost {written(said['cost'])}"]
    parts.append(" · ".join([*headline, *([written(said["dispatch"])] if "dispatch" in said else [])]))
    if question.kind is Kind.CAMPAIGN:  # what a ticket looks like, the stored MMS at the provider says
        parts.append(f"### {written(said['title'])}")
        parts += [f"> {written(line)}" for line in said["text"].splitlines() if line.strip()]
    parts += [_picture(item) for item in question.media]
    others = [(written(what), written(value)) for what, value in question.rows if what not in ("title", "text")]
    how = _HOW.replace("NAME", written(question.name)).replace("COMMAND", question.kind.command)
    parts += [how, table(("what", "value"), others)]
    return "\n\n".join(parts) + "\n"


def _picture(item: Media) -> str:
    if item.path is None:
        return f"{written(item.source)}: fetched by the provider"
    try:
        words = look(Path(item.path), item.source).as_text()
    except InputError as error:
        return f"{written(item.source)}: {written(str(error))}"
    small = thumbnail(Path(item.path))
    if small is None:
        return f"{written(item.source)}: {words}"
    name, data = written(item.source), base64.b64encode(small).decode()
    return f"![{name}](data:image/jpeg;base64,{data})\n\n{name}: {words}"
