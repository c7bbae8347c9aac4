"""Pictures from files, a real HTTP server and a server that speaks enough S3; broken and hostile ones too."""

from __future__ import annotations

import io
import socket
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from face_worker.pictures import Limits, PictureUnavailable, UnreadablePicture, decode, fetch, load
from schemas.errors import GalleryError, Unavailable

LIMITS = Limits()
ORIENTATION = 0x0112


def quadrants(width: int = 60, height: int = 40) -> Image.Image:
    """Red top left, green top right, blue bottom left, white bottom right."""
    image = Image.new("RGB", (width, height), "white")
    image.paste("red", (0, 0, width // 2, height // 2))
    image.paste("lime", (width // 2, 0, width, height // 2))
    image.paste("blue", (0, height // 2, width // 2, height))
    return image


def encoded(image: Image.Image, kind: str, **options: object) -> bytes:
    content = io.BytesIO()
    image.save(content, kind, **options)
    return content.getvalue()


def corner_colours(picture: np.ndarray) -> str:
    """The colours near the corners, clockwise from the top left: r, g, b or w."""
    height, width = picture.shape[:2]
    y, x = height // 8, width // 8
    pixels = [picture[y, x], picture[y, -x], picture[-y, -x], picture[-y, x]]
    return "".join("w" if min(p) > 150 else "rgb"[int(np.argmax(p))] for p in pixels)


def reason_of(call: Callable[[], object]) -> str:
    with pytest.raises(UnreadablePicture) as caught:
        call()
    assert caught.value.detail
    return caught.value.reason


# --- decoding


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "HEIF"])
def test_every_supported_kind_decodes(kind: str) -> None:
    picture = decode(encoded(quadrants(), kind, quality=95), LIMITS)
    assert picture.shape == (40, 60, 3)
    assert picture.dtype == np.uint8
    assert corner_colours(picture) == "rgwb"


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "HEIF"])
@pytest.mark.parametrize(
    ("orientation", "shape", "corners"), [(3, (40, 60, 3), "wbrg"), (6, (60, 40, 3), "brgw")]
)
def test_pictures_are_turned_as_exif_says(
    kind: str, orientation: int, shape: tuple[int, ...], corners: str
) -> None:
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    # As bytes: pillow-heif then writes the turn into the HEIF itself too, as phones do; it must count once.
    picture = decode(encoded(quadrants(), kind, exif=exif.tobytes(), quality=95), LIMITS)
    assert picture.shape == shape
    assert corner_colours(picture) == corners


@pytest.mark.parametrize(
    ("size", "expected"),
    [((4000, 3000), (960, 1280, 3)), ((900, 3600), (1280, 320, 3)), ((200, 100), (100, 200, 3))],
)
@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
def test_the_longer_side_is_scaled_down_never_up(
    kind: str, size: tuple[int, int], expected: tuple[int, ...]
) -> None:
    picture = decode(encoded(quadrants(*size), kind), LIMITS)
    assert picture.shape == expected
    assert corner_colours(picture) == "rgwb"


def test_other_colour_modes_become_rgb() -> None:
    assert decode(encoded(quadrants().convert("CMYK"), "JPEG"), LIMITS).shape == (40, 60, 3)
    assert decode(encoded(quadrants().convert("L"), "JPEG"), LIMITS).shape == (40, 60, 3)
    assert corner_colours(decode(encoded(quadrants().convert("P"), "PNG"), LIMITS)) == "rgwb"
    see_through = Image.new("RGBA", (20, 20), (255, 0, 0, 0))
    assert decode(encoded(see_through, "PNG"), LIMITS).min() == 255  # on white, not on whatever lay below
    deep = Image.fromarray(np.full((20, 20), 128 << 8, dtype=np.uint16))
    assert np.unique(decode(encoded(deep, "PNG"), LIMITS)).tolist() == [128]


def test_truncated_pictures_are_broken() -> None:
    noise = Image.fromarray(np.random.default_rng(1).integers(0, 256, (80, 80, 3), dtype=np.uint8))
    for kind in ("JPEG", "PNG", "WEBP", "HEIF"):
        content = encoded(noise, kind)
        for keep in (0.9, 0.5, 0.1):
            cut = content[: int(len(content) * keep)]
            assert reason_of(lambda cut=cut: decode(cut, LIMITS)) == "broken"


@pytest.mark.parametrize(
    "content",
    [b"<html>not here</html>", b"GIF89a" + bytes(50), b"", b"%PDF-1.7", encoded(quadrants(), "BMP")],
    ids=["html", "gif", "nothing", "pdf", "bmp"],
)
def test_other_types_are_unsupported(content: bytes) -> None:
    assert reason_of(lambda: decode(content, LIMITS)) == "unsupported_type"


def test_a_decompression_bomb_is_refused_before_it_is_decoded() -> None:
    bomb = encoded(Image.new("1", (20_000, 20_000)), "PNG")  # 50 kB; 1.2 GB once decoded to RGB
    assert len(bomb) < 100_000
    assert reason_of(lambda: decode(bomb, LIMITS)) == "too_large"
    wide = encoded(Image.new("1", (10_000, 9_500)), "PNG")  # what Pillow only warns of
    assert reason_of(lambda: decode(wide, LIMITS)) == "too_large"
    assert (
        reason_of(lambda: decode(encoded(quadrants(), "PNG"), replace(LIMITS, max_pixels=2399)))
        == "too_large"
    )
    assert decode(encoded(quadrants(), "PNG"), replace(LIMITS, max_pixels=2400)).shape == (40, 60, 3)


SAMPLES = [encoded(quadrants(), kind) for kind in ("JPEG", "PNG", "WEBP", "HEIF")]


@settings(max_examples=150, deadline=None)
@given(
    st.sampled_from(SAMPLES),
    st.lists(st.tuples(st.floats(0, 1, exclude_max=True), st.integers(0, 255)), max_size=8),
    st.floats(0, 1),
)
def test_damaged_bytes_are_a_picture_or_unreadable_and_nothing_else(
    content: bytes, damage: list[tuple[float, int]], keep: float
) -> None:
    damaged = bytearray(content)
    for place, value in damage:
        damaged[int(place * len(damaged))] = value
    try:
        picture = decode(bytes(damaged[: int(len(damaged) * max(keep, 0.5))]), LIMITS)
    except UnreadablePicture:
        return
    assert picture.ndim == 3


def test_the_errors_hang_in_the_tree() -> None:
    assert issubclass(UnreadablePicture, GalleryError)
    assert issubclass(PictureUnavailable, Unavailable)


# --- files


def test_files_by_path_and_by_uri(tmp_path: Path) -> None:
    file = tmp_path / "a picture, 100%.jpg"
    file.write_bytes(encoded(quadrants(), "JPEG"))
    assert load(str(file), LIMITS).shape == (40, 60, 3)
    assert load(file.as_uri(), LIMITS).shape == (40, 60, 3)


def test_files_that_are_not_there_or_no_files(tmp_path: Path) -> None:
    assert reason_of(lambda: load(str(tmp_path / "nothing.jpg"), LIMITS)) == "not_found"
    assert reason_of(lambda: load(str(tmp_path), LIMITS)) == "not_found"
    assert reason_of(lambda: load("/dev/zero", LIMITS)) == "not_found"
    assert reason_of(lambda: load("file:///a%00b", LIMITS)) == "not_found"


def test_empty_and_oversized_files(tmp_path: Path) -> None:
    file = tmp_path / "a.png"
    file.write_bytes(b"")
    assert reason_of(lambda: load(str(file), LIMITS)) == "broken"
    content = encoded(quadrants(), "PNG")
    file.write_bytes(content)
    assert load(str(file), replace(LIMITS, max_bytes=len(content))).shape == (40, 60, 3)
    assert reason_of(lambda: load(str(file), replace(LIMITS, max_bytes=len(content) - 1))) == "too_large"


def test_files_outside_of_the_root_are_forbidden(tmp_path: Path) -> None:
    root, outside = tmp_path / "root", tmp_path / "outside.png"
    root.mkdir()
    outside.write_bytes(encoded(quadrants(), "PNG"))
    (root / "inside.png").write_bytes(encoded(quadrants(), "PNG"))
    (root / "link.png").symlink_to(outside)
    limits = replace(LIMITS, file_root=root)
    assert load(str(root / "inside.png"), limits).shape == (40, 60, 3)
    for uri in (
        str(outside),
        f"{root}/../outside.png",
        f"file://{root}/%2e%2e/outside.png",
        str(root / "link.png"),
        f"{root}-not/x.png",
    ):
        assert reason_of(lambda uri=uri: load(uri, limits)) == "forbidden", uri


@pytest.mark.parametrize(
    "uri",
    [
        "ftp://127.0.0.1/a.jpg",
        "data:image/png;base64,AAAA",
        "simplecache::http://127.0.0.1/a.jpg",
        "http://127.0.0.1/zip://x::file:///etc/passwd",
        "local:///etc/hostname",
        "file://elsewhere/a.jpg",
        "http://[broken",
    ],
)
def test_other_schemes_and_chains_are_forbidden(uri: str) -> None:
    assert reason_of(lambda: load(uri, LIMITS)) == "forbidden"


def test_a_scheme_that_the_caller_does_not_allow_is_forbidden(tmp_path: Path) -> None:
    file = tmp_path / "a.png"
    file.write_bytes(encoded(quadrants(), "PNG"))
    limits = replace(LIMITS, schemes=frozenset({"https", "s3"}))
    assert reason_of(lambda: load(str(file), limits)) == "forbidden"
    assert reason_of(lambda: load("http://127.0.0.1/a.png", limits)) == "forbidden"


# --- servers


class Answers(BaseHTTPRequestHandler):
    """/ok, /endless, /slow, /moved, /status/<n>; and an S3 bucket "photos" with the key "ok.png"."""

    picture: ClassVar[bytes] = encoded(quadrants(), "PNG")
    asked: ClassVar[list[str]] = []
    protocol_version = "HTTP/1.1"

    def answer(self, status: int, content: bytes = b"", **headers: str) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    def do_GET(self) -> None:
        self.asked.append(f"{self.command} {self.path}")
        match self.path.split("?")[0].split("/")[1:]:
            case ["ok"] | ["photos", "ok.png"]:
                self.answer(200, self.picture)
            case ["moved"]:
                self.answer(302, Location="/ok")
            case ["slow"]:
                time.sleep(1.5)
                self.close_connection = True
            case ["endless"]:
                self.send_response(200)
                self.end_headers()
                self.close_connection = True
                try:
                    while True:
                        self.wfile.write(bytes(1 << 16))
                except OSError:
                    pass
            case ["status", status]:
                self.answer(int(status), b"no")
            case ["photos", "secret.png"]:
                self.answer(403)
            case _:
                self.answer(404)

    do_HEAD = do_GET  # noqa: N815 - http.server's name

    def log_message(self, *args: object) -> None:
        pass


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Answers) as running:
        running.daemon_threads = True
        thread = threading.Thread(target=running.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{running.server_port}"
        running.shutdown()
        thread.join()


def closed_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def test_http(server: str) -> None:
    Answers.asked.clear()
    assert load(f"{server}/ok", LIMITS).shape == (40, 60, 3)
    assert Answers.asked == ["GET /ok"]  # and no question before it
    assert load(f"{server}/moved", LIMITS).shape == (40, 60, 3)


@pytest.mark.parametrize(
    ("status", "reason"),
    [(400, "not_found"), (401, "forbidden"), (403, "forbidden"), (404, "not_found"), (410, "not_found")],
)
def test_http_answers_that_stay(server: str, status: int, reason: str) -> None:
    assert reason_of(lambda: load(f"{server}/status/{status}", LIMITS)) == reason


@pytest.mark.parametrize("status", [408, 429, 500, 502, 503])
def test_http_answers_that_pass(server: str, status: int) -> None:
    with pytest.raises(PictureUnavailable, match=str(status)):
        load(f"{server}/status/{status}", LIMITS)


def test_http_servers_that_do_not_answer(server: str) -> None:
    with pytest.raises(PictureUnavailable):
        load(f"{server}/slow", replace(LIMITS, timeout=0.3))
    with pytest.raises(PictureUnavailable):
        load(f"http://127.0.0.1:{closed_port()}/a.png", LIMITS)


def test_http_answers_without_an_end_are_too_large(server: str) -> None:
    assert reason_of(lambda: fetch(f"{server}/endless", replace(LIMITS, max_bytes=1_000_000))) == "too_large"


def s3(endpoint: str) -> Limits:
    return Limits(options={"s3": {"key": "k", "secret": "s", "endpoint_url": endpoint}}, timeout=20)


def test_s3(server: str) -> None:
    assert load("s3://photos/ok.png", s3(server)).shape == (40, 60, 3)
    assert reason_of(lambda: load("s3://photos/none.png", s3(server))) == "not_found"
    assert reason_of(lambda: load("s3://photos/secret.png", s3(server))) == "forbidden"
    small = replace(s3(server), max_bytes=len(Answers.picture) - 1)
    Answers.asked.clear()
    assert reason_of(lambda: load("s3://photos/ok.png", small)) == "too_large"
    assert [line.split()[0] for line in Answers.asked] == ["HEAD"]  # not even fetched


def test_s3_that_does_not_answer() -> None:
    with pytest.raises(PictureUnavailable):
        load("s3://photos/ok.png", s3(f"http://127.0.0.1:{closed_port()}"))
