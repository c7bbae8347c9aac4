"""gallery faces, as an organizer uses it, beside a worker that runs."""

from __future__ import annotations

import io
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from database import ingest
from face_stage import PEOPLE, Stage, photo
from PIL import Image
from stack import ClickHouse
from typer.testing import CliRunner, Result

from deploy.cli import app
from deploy.connection import with_passwords
from deploy.local import components, numbered
from deploy.settings import Settings
from face_worker.contact_sheet import crop, page
from face_worker.curation import Curation, Person
from face_worker.faces import Box
from schemas.errors import SetupError
from schemas.wire import decode

Faces = Callable[..., Result]
ROOT = Path(__file__).parents[1]


@pytest.fixture
def faces(
    stage: Stage,
    clickhouse_server: ClickHouse,
    pictures: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[Faces]:
    """`gallery faces ...` for a gallery with four people and a worker."""
    raws = [photo(pictures, name) for name in PEOPLE] + [photo(pictures, "missing")]
    stage.tell(raws)
    for name, value in {
        "FOLDER": str(tmp_path),
        "KAFKA_BOOTSTRAP": stage.broker.bootstrap,
        "CLICKHOUSE": "server",
        "CLICKHOUSE_PORT": str(clickhouse_server.port),
        "CLICKHOUSE_DATABASE": "face_worker",
        "CLICKHOUSE_PASSWORD": "writes",
    }.items():
        monkeypatch.setenv(f"GALLERY_{name}", value)

    def run(*arguments: str, stdin: str = "", fails: bool = False) -> Result:
        result = CliRunner().invoke(app, ["faces", *arguments], input=stdin)
        if not fails:
            assert result.exit_code == 0, (arguments, result.output, result.exception)
        return result

    ingest(stage.client, [decode(one) for one in raws])
    with (tmp_path / "log").open("wb") as log:
        worker = subprocess.Popen([sys.executable, "tests/face_process.py"], cwd=ROOT, stdout=log, stderr=log)
    try:
        while True:  # until it has looked at all; the test has a timeout
            found = stage.client.query("SELECT arrayJoin(causes) FROM face_journal FINAL").result_rows
            if len(found) == len(raws):
                break
        yield run
    finally:
        worker.kill()
        worker.wait()


def groups(faces: Faces) -> dict[str, int]:
    """Group → photos, as listed."""
    lines = faces("list", "gala").stdout.splitlines()
    assert lines[0].split() == ["group", "photos", "faces", "corrected", "merged", "name"]
    return {line.split()[0]: int(line.split()[1]) for line in lines[1:]}


@pytest.mark.stack
def test_an_organizer_corrects_the_people_of_a_gallery(faces: Faces, stage: Stage, tmp_path: Path) -> None:
    before = groups(faces)
    assert sorted(before.values()) == [3, 3, 4, 4]
    one, other, *_ = before
    assert "done" in faces("merge", "gala", one[:12], other).stderr
    merged = groups(faces)
    assert merged.keys() == before.keys() - {one}
    assert re.search(rf"{other} .* yes +1", faces("list", "gala").stdout)
    assert "unmerge it first" in refused(faces, "merge", "gala", one, other)
    faces("unmerge", "gala", one)
    assert groups(faces) == before
    assert "was not merged" in refused(faces, "unmerge", "gala", one)
    photos = sorted(Curation.of(stage.client, "gala").photos_in(one))
    new = faces("split", "gala", one, *photos[:2]).stdout.strip()
    assert groups(faces) == before | {one: before[one] - 2, new: 2}
    assert "is not in" in refused(faces, "split", "gala", one, photos[0])
    faces("split", "gala", new, *photos[:2], "--into", one)
    assert groups(faces) == before
    assert faces("merge", "gala", other, one, "--wait", "0").stderr.strip() == "published"
    (file,) = faces("sheet", "gala", "--out", str(tmp_path / "sheet")).stdout.split()
    text = Path(file).read_text()
    assert text.count("data:image/jpeg;base64,") >= 14 - 1
    assert all(group in text for group in before if group != other)
    assert Path(file).stat().st_mode & 0o077 == 0


@pytest.mark.stack
def test_an_operator_repeats_and_forgets(faces: Faces, stage: Stage) -> None:
    assert "--failed, --not-by MODEL or --all" in refused(faces, "redo", "gala")
    stored = stage.client.query("SELECT arrayJoin(events) FROM face_journal FINAL").result_rows
    ingest(stage.client, [decode(raw.encode()) for (raw,) in stored])
    assert "1 photos again" in faces("redo", "gala", "--failed").stdout
    assert faces("redo", "gala", "--not-by", "another", stdin="n\n", fails=True).exit_code == 1
    assert faces("redo", "gala", "--all", "--yes").stdout.startswith("the worker looks at 9 photos")
    assert faces("forget", "gala", stdin="n\n", fails=True).exit_code == 1
    assert faces("forget", "gala", stdin="y\n").stdout.endswith("deleted the faces of 8 photos\n")
    assert sorted(groups(faces).values()) == [3, 3, 4, 4]


@pytest.mark.stack
def test_what_is_not_there_is_said(faces: Faces) -> None:
    assert "knows no gallery 'elsewhere': choose among gala" in refused(faces, "list", "elsewhere")
    assert "no group 'zzz'" in refused(faces, "merge", "gala", "zzz", "zzz")
    assert "groups of gala start with ''" in refused(faces, "unmerge", "gala", "")
    one = next(iter(groups(faces)))
    assert "one group already" in refused(faces, "merge", "gala", one, one)


def refused(faces: Faces, *arguments: str) -> str:
    result = faces(*arguments, fails=True)
    assert isinstance(result.exception, SetupError), result.output
    return str(result.exception)


def test_a_page_shows_the_faces_it_has_and_trusts_no_name() -> None:
    people = [Person("g<1>", ("p 0", "q 0"), 2, "<b>Ann</b>", corrected=True, merged=("x",))]
    text = page("a & b", people, {"p 0": b"jpeg"})
    assert "<b>Ann" not in text
    assert "&lt;b&gt;Ann&lt;/b&gt;" in text
    assert "People of a &amp; b" in text
    assert text.count("<figure>") == 1
    assert "and 1 more" in text
    assert "2 photos · 2 faces · corrected · 1 merged into it" in text


def test_a_crop_is_a_square_around_the_face_also_at_the_edge() -> None:
    picture = np.zeros((300, 400, 3), dtype=np.uint8)
    picture[0:80, 320:400] = (250, 10, 10)
    with Image.open(io.BytesIO(crop(picture, Box(320, 0, 80, 80)))) as face:
        assert face.size == (112, 112)
        red, green, _ = face.convert("RGB").getpixel((56, 56))  # type: ignore[misc]
    assert red > 200 > 60 > green


def test_several_face_workers_are_processes_of_one_command(tmp_path: Path) -> None:
    parts = components(with_passwords(Settings(folder=tmp_path)), ["ingest", *numbered("faces", 2)])
    workers = [part for part in parts if part.name.startswith("faces")]
    assert [part.name for part in workers] == ["faces-1", "faces-2"]
    assert {part.argv[-2:] for part in workers} == {("faces", "run")}
    assert len({part.listens for part in workers}) == 2
    assert numbered("faces", 1) == ["faces"]
    with pytest.raises(SetupError, match="no worker 'fases-1'"):
        components(with_passwords(Settings(folder=tmp_path)), ["fases-1"])
