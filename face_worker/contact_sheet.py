"""The people of a gallery as one HTML page: a row of faces for each group, embedded in the page. Pure."""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping, Sequence
from html import escape

from PIL import Image

from face_worker.curation import Person
from face_worker.faces import Box, Picture

SIDE = 112  # px of a face on the page
_MARGIN = 0.25  # of the box, around it
_STYLE = """
:root { color-scheme: light dark }
body { font: 14px/1.4 system-ui, sans-serif; margin: 2rem auto; max-width: 72rem; padding: 0 1rem }
h1 { font-size: 1.3rem; margin-bottom: 0 } header p { color: #777; margin-top: .2rem }
section { border-top: 1px solid #8884; padding: .7rem 0 }
h2 { font-size: 1rem; margin: 0 } h2 small { font-weight: normal; color: #777 }
code { user-select: all; font-size: .8rem; color: #777 }
.faces { display: flex; flex-wrap: wrap; gap: 6px; margin-top: .4rem }
figure { margin: 0; width: 112px } img { border-radius: 6px; display: block; background: #8883 }
figcaption { font-size: .7rem; color: #777; overflow: hidden; text-overflow: ellipsis; white-space: nowrap }
.more { align-self: center; color: #777 }
"""


def crop(picture: Picture, box: Box) -> bytes:
    """A face of a picture, with a margin, as a square JPEG of at most SIDE px."""
    side = round(max(box.width, box.height) * (1 + 2 * _MARGIN))
    left = box.x + box.width // 2 - side // 2
    top = box.y + box.height // 2 - side // 2
    face = Image.new("RGB", (side, side), "grey")  # a face at the edge of the picture
    face.paste(Image.fromarray(picture), (-left, -top))
    face.thumbnail((SIDE, SIDE), Image.Resampling.LANCZOS)
    out = io.BytesIO()
    face.save(out, "JPEG", quality=85)
    return out.getvalue()


def page(gallery_id: str, people: Sequence[Person], faces: Mapping[str, bytes]) -> str:
    """The page. `faces` is face key → JPEG; of a group with more faces their number is shown."""
    sections = "\n".join(_section(person, faces) for person in people)
    title = escape(gallery_id)
    shown = sum(len(person.faces) for person in people)
    return (
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>People of {title}</title>'
        f"<style>{_STYLE}</style></head><body>\n<header><h1>People of {title}</h1>"
        f"<p>{len(people)} people, {shown} faces. Faces are personal data: delete this page after use.</p>"
        f"</header>\n{sections}\n</body></html>\n"
    )


def _section(person: Person, faces: Mapping[str, bytes]) -> str:
    shown = [key for key in person.faces if key in faces]
    figures = "".join(
        f'<figure><img width="{SIDE}" height="{SIDE}" alt="a face in {_photo(key)}" '
        f'src="data:image/jpeg;base64,{base64.b64encode(faces[key]).decode()}">'
        f"<figcaption>{_photo(key)}</figcaption></figure>"
        for key in shown
    )
    more = len(person.faces) - len(shown)
    rest = f'<span class="more">and {more} more</span>' if more else ""
    remarks = [_number(person.photos, "photo"), _number(len(person.faces), "face")]
    remarks += ["corrected"] if person.corrected else []
    remarks += [f"{len(person.merged)} merged into it"] if person.merged else []
    return (
        f"<section><h2>{escape(person.name) or 'Unnamed'} <small>{' · '.join(remarks)}</small></h2>"
        f'<code>{escape(person.group_id)}</code><div class="faces">{figures}{rest}</div></section>'
    )


def _number(count: int, what: str) -> str:
    return f"{count} {what}" if count == 1 else f"{count} {what}s"


def _photo(key: str) -> str:
    return escape(key.rpartition(" ")[0])
