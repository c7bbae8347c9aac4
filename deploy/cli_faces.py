"""gallery faces: the worker that finds people in photos, and what organizers and operators do with them."""

# ruff: noqa: D301 - click reads \b itself: the lines below it stay lines
from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final
from uuid import uuid4

import typer

from deploy import console
from deploy.cli_store import connected_client
from schemas.errors import SetupError

if TYPE_CHECKING:
    from deploy.settings import Settings
    from face_worker.curation import Curation
    from schemas.events import Event, GroupMerged, GroupSplit

faces: Final = typer.Typer(
    help="People in photos: find them, look at them, correct and delete what was found.",
    rich_markup_mode=None,
)
Gallery = Annotated[str, typer.Argument(metavar="GALLERY", help="Id of the gallery.")]
Group = Annotated[str, typer.Argument(help="Id of a group, or its beginning; see `gallery faces list`.")]
Wait = Annotated[float, typer.Option(min=0, help="Seconds to wait for the worker's answer; 0 does not wait.")]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")]
_PRODUCER: Final = "organizer"
_MOST: Final = 12


@faces.callback(invoke_without_command=True)
def _faces(context: typer.Context) -> None:
    """People in photos: find them, look at them, correct and delete what was found.

    Without a command it is `gallery faces run`.
    """
    if context.invoked_subcommand is None:
        run()


@faces.command()
def run() -> None:
    """Photos and selfies → people: detect, embed, group, match. Runs until SIGTERM.

    Needs the extra `faces` and loads TensorFlow first, 10 to 20 s. One process uses one core: for more,
    start more of them.

    \b
    gallery faces run
    GALLERY_FACES_PICTURES=/srv/photos gallery faces run     # read no file outside this folder
    """
    from deploy.faces import run_faces  # noqa: PLC0415 - `gallery --help` does without

    run_faces(console.settings())


@faces.command("list")
def list_people(gallery: Gallery) -> None:
    """The people of a gallery, those in most photos first.

    \b
    gallery faces list summit-2026
    """
    people = _curation(gallery).people()
    rows = [
        (
            one.group_id,
            one.photos,
            len(one.faces),
            "yes" if one.corrected else "",
            len(one.merged) or "",
            one.name,
        )
        for one in people
    ]
    console.say(console.table(("group", "photos", "faces", "corrected", "merged", "name"), rows))


@faces.command()
def sheet(
    gallery: Gallery,
    out: Annotated[Path, typer.Option(help="Folder for the page.")] = Path(),
    most: Annotated[int, typer.Option(min=1, help="Most faces of one person.")] = _MOST,
) -> None:
    """A contact sheet: one HTML page with the faces of every person, to look at before correcting.

    Reads the photos again, from where they lie. The page shows faces: delete it when you are done.

    \b
    gallery faces sheet summit-2026 --out /tmp
    """
    from deploy.contact_sheet import write_sheet  # noqa: PLC0415

    curation = _curation(gallery)
    file, unreadable = write_sheet(console.settings(), curation, out, most)
    if unreadable:
        console.note(f"{unreadable} photos could not be read and are not shown")
    console.say(str(file))


@faces.command()
def merge(gallery: Gallery, group: Group, into: Group, wait: Wait = 30.0) -> None:
    """Two groups are one person: the second one goes on, the first one's photos become its own.

    Later groupings keep to it. `gallery faces unmerge` undoes it.

    \b
    gallery faces merge summit-2026 3f1c 9a20
    """
    curation = _curation(gallery)
    one, other = curation.find(group), curation.find(into)
    for group_id in (one, other):
        if (root := curation.gallery.root(group_id)) != group_id:
            raise SetupError(f"{group_id} was merged into {root}: name that one, or unmerge it first")
    if one == other:
        raise SetupError(f"{one} is one group already")
    _tell(curation, _merged(gallery, one, other), wait)


@faces.command()
def unmerge(gallery: Gallery, group: Group, wait: Wait = 30.0) -> None:
    """Undo a merge, of an organizer or of the worker: the group has its faces of then again.

    The two are kept apart from then on.

    \b
    gallery faces unmerge summit-2026 3f1c
    """
    curation = _curation(gallery)
    one = curation.find(group)
    if one not in curation.gallery.merged:
        raise SetupError(f"{one} was not merged into another group")
    _tell(curation, _merged(gallery, one, one), wait)


@faces.command()
def split(
    gallery: Gallery,
    group: Group,
    photos: Annotated[list[str], typer.Argument(metavar="PHOTO...", help="Photos that show somebody else.")],
    into: Annotated[
        str | None, typer.Option(help="Group they belong to.", show_default="a new group")
    ] = None,
    wait: Wait = 30.0,
) -> None:
    """Some photos of a group show somebody else: they go to a new group, or to another one.

    \b
    gallery faces split summit-2026 3f1c IMG_0012 IMG_0040
    gallery faces split summit-2026 3f1c IMG_0012 --into 9a20
    """
    from schemas.events import GroupSplit  # noqa: PLC0415

    curation = _curation(gallery)
    one = curation.find(group)
    target = curation.find(into) if into else str(uuid4())
    if foreign := sorted(set(photos) - curation.photos_in(one)):
        raise SetupError(f"{one} is not in {', '.join(foreign)}")
    event = GroupSplit.new(
        gallery_id=gallery, producer=_PRODUCER, group_id=one, photo_ids=tuple(photos), into=target
    )
    _tell(curation, event, wait)
    console.say(target)


@faces.command()
def redo(
    gallery: Gallery,
    failed: Annotated[bool, typer.Option("--failed", help="Photos that could not be read.")] = False,
    not_by: Annotated[
        str | None, typer.Option(metavar="MODEL", help="Photos that this model has not seen.")
    ] = None,
    everything: Annotated[bool, typer.Option("--all", help="Every photo.")] = False,
    yes: Yes = False,
) -> None:
    """Let the worker look at photos again: failed ones, those another model saw, or all.

    Groups keep their ids where the faces are the same.

    \b
    gallery faces redo summit-2026 --failed
    gallery faces redo summit-2026 --all --yes      # after another model was set
    """
    from producers import Publisher  # noqa: PLC0415

    if sum((failed, not_by is not None, everything)) != 1:
        raise SetupError("say which photos: --failed, --not-by MODEL or --all")
    curation = _curation(gallery)
    uploads = curation.uploads(failed=failed, not_by=not_by)
    if not uploads:
        console.say("no photos to look at again")
        return
    if not (failed or yes):
        typer.confirm(f"Look at {len(uploads)} photos of {gallery} again?", abort=True)
    curation.reopen(uploads)
    with Publisher(_settings().producer()) as publisher:
        publisher.publish_all(uploads)
    console.say(f"the worker looks at {len(uploads)} photos again")


@faces.command()
def forget(gallery: Gallery, yes: Yes = False) -> None:
    """Delete every face embedding and box of a gallery, for good.

    Photos keep the groups they have, and figures stay. New photos and selfies are no longer recognised as
    the people of before; `gallery faces redo --all` looks at the photos again.

    \b
    gallery faces forget summit-2026
    """
    curation = _curation(gallery)
    if not yes:
        typer.confirm(f"Delete the faces of {len(curation.gallery.photos)} photos of {gallery}?", abort=True)
    console.say(f"deleted the faces of {curation.forget()} photos")


def _settings() -> Settings:
    return console.settings()


def _curation(gallery_id: str) -> Curation:
    from face_worker.curation import Curation  # noqa: PLC0415 - loads numpy

    return Curation.of(connected_client(), gallery_id)


def _merged(gallery_id: str, group_id: str, into: str) -> GroupMerged:
    from schemas.events import GroupMerged  # noqa: PLC0415

    return GroupMerged.new(gallery_id=gallery_id, producer=_PRODUCER, group_id=group_id, into=into)


def _tell(curation: Curation, event: GroupMerged | GroupSplit, wait: float) -> None:
    """Publish a correction and wait until a worker has answered it."""
    _publish(event)
    deadline = time.monotonic() + wait
    while wait:
        if curation.answered(event.event_id):
            console.note("done")
            return
        if time.monotonic() > deadline:
            console.note(f"published, but no face worker has answered within {wait:g} s: does one run?")
            raise typer.Exit(1)
        time.sleep(0.2)
    console.note("published")


def _publish(event: Event) -> None:
    from producers import Publisher  # noqa: PLC0415

    with Publisher(_settings().producer()) as publisher:
        publisher.publish(event)
