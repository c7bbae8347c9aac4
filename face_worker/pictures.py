"""A URI to an upright RGB picture, within limits. URIs come from events, so nothing of them is trusted.

Trouble that stays is `UnreadablePicture` (publish its reason and go on); trouble that may pass is
`PictureUnavailable` (try again later).
"""

import io
import struct
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Literal, cast
from urllib.parse import unquote, urlsplit

import aiohttp
import fsspec
import numpy as np
import pillow_heif
from botocore.exceptions import BotoCoreError  # type: ignore[import-untyped]  # no stubs
from PIL import Image, ImageOps

from face_worker.faces import Picture
from face_worker.places import ForbiddenPlace, client_factory
from schemas.errors import GalleryError, Unavailable

Reason = Literal["not_found", "too_large", "unsupported_type", "broken", "forbidden"]

pillow_heif.register_heif_opener()
_FORMATS: Final = ("JPEG", "PNG", "WEBP", "HEIF")
_CHUNK = 1 << 16
_HEIF_BRANDS = (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1")


class UnreadablePicture(GalleryError):  # noqa: N818 - says what was found, as InvalidEvent does
    """Trying again would not help. `reason` is what goes into faces.failed."""

    def __init__(self, reason: Reason, detail: str) -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason: Reason = reason
        self.detail = detail


class PictureUnavailable(Unavailable):
    """The place of the picture does not answer, or not in time: try again later."""


@dataclass(frozen=True, slots=True)
class Limits:
    """What is fetched and decoded. `options` are fsspec's, by scheme: {"s3": {"endpoint_url": ...}}."""

    max_bytes: int = 50_000_000
    max_pixels: int = 80_000_000  # width x height before scaling; Pillow itself warns from 89 million on
    max_side: int = 1280  # px, the longer side of the result
    schemes: frozenset[str] = frozenset({"file", "http", "https", "s3"})
    file_root: Path | None = None  # files must lie below it, links followed; None: anywhere
    timeout: float = 30.0  # seconds for the whole transfer (http) or each wait (s3)
    options: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    hosts: frozenset[str] = frozenset()  # of http and https; see `places.client_factory`
    private_hosts: bool = True  # whether these may lie in a private network


def load(uri: str, limits: Limits) -> Picture:
    """Fetch and decode the picture at `uri`: a path, file://, http(s):// or s3://.

    Returns uint8 (height, width, 3): RGB, turned as EXIF says, the longer side at most `limits.max_side` px
    (smaller pictures stay as they are). Blocks. Raises UnreadablePicture or PictureUnavailable.
    """
    return decode(fetch(uri, limits), limits)


def fetch(uri: str, limits: Limits) -> bytes:
    """The bytes at `uri`, at most `limits.max_bytes`. Blocks. Raises as `load`."""
    try:
        parts = urlsplit(uri)
    except ValueError as error:
        raise UnreadablePicture("forbidden", f"{uri!r} is no URI: {error}") from error
    scheme = parts.scheme or "file"
    # fsspec reads "::" as a chain of file systems, which would lead around the list of schemes.
    if scheme not in limits.schemes or scheme not in {"file", "http", "https", "s3"} or "::" in uri:
        raise UnreadablePicture("forbidden", f"{uri!r}: only {', '.join(sorted(limits.schemes))} are allowed")
    try:
        match scheme:
            case "file":
                return _fetch_file(uri, limits)
            case "s3":
                return _fetch_s3(uri, limits)
            case _:
                return _fetch_http(uri, limits)
    except FileNotFoundError as error:
        raise UnreadablePicture("not_found", f"there is nothing at {uri!r}") from error
    except PermissionError as error:
        raise UnreadablePicture("forbidden", f"no access to {uri!r}: {error}") from error
    except aiohttp.ClientResponseError as error:
        raise _refused(uri, error) from error
    except aiohttp.InvalidURL as error:
        raise UnreadablePicture("not_found", f"{uri!r} is no address") from error
    except (OSError, aiohttp.ClientError, BotoCoreError) as error:  # TimeoutError is an OSError
        raise PictureUnavailable(f"{uri!r} cannot be fetched now: {error or type(error).__name__}") from error


def decode(content: bytes, limits: Limits) -> Picture:
    """Bytes of a JPEG, PNG, WebP or HEIC to a picture as `load` returns it. Raises UnreadablePicture."""
    if not _is_supported(content):
        raise UnreadablePicture("unsupported_type", "neither JPEG, PNG, WebP nor HEIC")
    try:
        with Image.open(io.BytesIO(content), formats=_FORMATS) as image:
            if image.width * image.height > limits.max_pixels:
                raise UnreadablePicture(
                    "too_large", f"{image.width} x {image.height} px, allowed are {limits.max_pixels}"
                )
            return _upright(image, limits.max_side)
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise UnreadablePicture("too_large", str(error)) from error
    # What Pillow's decoders raise on damaged input; PNG's raises SyntaxError.
    except (OSError, SyntaxError, ValueError, EOFError, RuntimeError, struct.error, zlib.error) as error:
        raise UnreadablePicture("broken", str(error) or type(error).__name__) from error


def _fetch_file(uri: str, limits: Limits) -> bytes:
    if uri.startswith("file:"):
        parts = urlsplit(uri)
        if parts.netloc not in {"", "localhost"}:
            raise UnreadablePicture("forbidden", f"{uri!r} names another machine")
        path = Path(unquote(parts.path))
    else:
        path = Path(uri)
    try:
        path = path.resolve()
        if limits.file_root is not None and not path.is_relative_to(limits.file_root.resolve()):
            raise UnreadablePicture("forbidden", f"{uri!r} is not below {limits.file_root}")
        if not path.is_file():  # a pipe or a device would never end
            raise FileNotFoundError(uri)
    except ValueError as error:  # a NUL in the name
        raise FileNotFoundError(uri) from error
    with fsspec.filesystem("file").open(str(path), "rb") as file:
        return _bounded(uri, file.read(limits.max_bytes + 1), limits)


def _fetch_http(uri: str, limits: Limits) -> bytes:
    options = {
        "client_kwargs": {"timeout": aiohttp.ClientTimeout(total=limits.timeout)},
        "get_client": client_factory(limits.hosts, private=limits.private_hosts),
    }
    filesystem = fsspec.filesystem("http", **{**options, **limits.options.get(urlsplit(uri).scheme, {})})
    content = bytearray()
    # block_size 0: one streamed GET. With a size given fsspec asks for none first, and its way of asking
    # turns every failure, also a passing one, into FileNotFoundError.
    try:
        with filesystem.open(uri, "rb", block_size=0, size=1) as stream:
            while len(content) <= limits.max_bytes and (chunk := stream.read(_CHUNK)):
                content += chunk
    except ForbiddenPlace as error:
        raise UnreadablePicture("forbidden", f"{uri!r}: {error}") from error
    return _bounded(uri, bytes(content), limits)


def _fetch_s3(uri: str, limits: Limits) -> bytes:
    options = {"config_kwargs": {"connect_timeout": limits.timeout, "read_timeout": limits.timeout}}
    filesystem = fsspec.filesystem("s3", **{**options, **limits.options.get("s3", {})})
    filesystem.invalidate_cache()  # a picture that was not there a minute ago may be there now
    size = filesystem.info(uri)["size"]
    if size > limits.max_bytes:
        raise UnreadablePicture("too_large", f"{uri!r} has {size} bytes, allowed are {limits.max_bytes}")
    return _bounded(uri, cast("bytes", filesystem.cat_file(uri)), limits)


def _bounded(uri: str, content: bytes, limits: Limits) -> bytes:
    if len(content) > limits.max_bytes:
        raise UnreadablePicture("too_large", f"{uri!r} has more than {limits.max_bytes} bytes")
    if not content:
        raise UnreadablePicture("broken", f"{uri!r} is empty")
    return content


def _refused(uri: str, error: aiohttp.ClientResponseError) -> GalleryError:
    detail = f"{uri!r} answers {error.status}"
    if error.status in {401, 403, 407, 451}:
        return UnreadablePicture("forbidden", detail)
    if error.status in {408, 425, 429} or error.status >= 500:
        return PictureUnavailable(detail)
    return UnreadablePicture("not_found", detail)


def _is_supported(content: bytes) -> bool:
    return (
        content.startswith((b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n"))
        or (content[:4] == b"RIFF" and content[8:12] == b"WEBP")
        or (content[4:8] == b"ftyp" and content[8:12] in _HEIF_BRANDS)
    )


def _upright(image: Image.Image, max_side: int) -> Picture:
    if image.format == "JPEG":
        image.draft("RGB", (max_side, max_side))  # decodes at 1/2, 1/4, 1/8, never below max_side
    upright = ImageOps.exif_transpose(image)
    if upright.mode.startswith("I"):  # 16 bits of grey, which convert("RGB") would cut off at 255
        upright = Image.fromarray((np.asarray(upright).astype(np.uint32) >> 8).astype(np.uint8))
    elif upright.has_transparency_data:
        paper = Image.new("RGBA", upright.size, "white")
        paper.alpha_composite(upright.convert("RGBA"))
        upright = paper
    upright = upright.convert("RGB")
    upright.thumbnail((max_side, max_side), Image.Resampling.LANCZOS)
    return np.array(upright, dtype=np.uint8)
