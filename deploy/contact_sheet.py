"""Photos of a gallery → its contact sheet: the shell around `face_worker.contact_sheet`."""

from __future__ import annotations

from pathlib import Path

from rich.progress import Progress

from deploy.faces import limits
from deploy.settings import Settings
from face_worker import pictures
from face_worker.contact_sheet import crop, page
from face_worker.curation import Curation
from face_worker.faces import Face
from face_worker.journal import photo_of
from schemas.errors import Unavailable

_URIS = """
SELECT photo_id, argMax(uri, (occurred_at, event_id)) FROM events FINAL
WHERE gallery_id = {gallery:String} AND type = 'photo.uploaded' GROUP BY photo_id
"""


def write_sheet(settings: Settings, curation: Curation, folder: Path, most: int) -> tuple[Path, int]:
    """Write the page; returns its file and the number of photos that could not be read."""
    gallery = curation.gallery
    people = curation.people()
    wanted: dict[str, list[str]] = {}
    for person in people:
        # Largest faces first: those are the ones to recognise somebody by.
        keys = [key for key in person.faces if photo_of(key) in gallery.photos]
        keys.sort(key=lambda key: -_face(curation, key).height)
        for key in keys[:most]:
            wanted.setdefault(photo_of(key), []).append(key)
    rows = curation.client.query(_URIS, parameters={"gallery": gallery.gallery_id}).result_rows
    uris: dict[str, str] = {str(photo_id): uri for photo_id, uri in rows}
    faces: dict[str, bytes] = {}
    unreadable = 0
    with Progress(transient=True) as progress:
        for photo_id in progress.track(sorted(wanted), description="photos"):
            try:
                picture = pictures.load(uris[photo_id], limits(settings))
            except (pictures.UnreadablePicture, Unavailable, KeyError):
                unreadable += 1
                continue
            for key in wanted[photo_id]:
                faces[key] = crop(picture, _face(curation, key).box)
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / f"people-{_safe(gallery.gallery_id)}.html"
    file.touch(mode=0o600)
    file.write_text(page(gallery.gallery_id, people, faces), encoding="utf-8")
    return file, unreadable


def _face(curation: Curation, key: str) -> Face:
    return curation.gallery.photos[photo_of(key)].faces[int(key.rpartition(" ")[2])]


def _safe(name: str) -> str:
    return "".join(one if one.isalnum() or one in "-_." else "_" for one in name)
