"""Hosts that pictures may come from: neither names nor redirects lead into a private network."""

from __future__ import annotations

import http.server
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from squares import draw

from face_worker.pictures import Limits, UnreadablePicture, load
from face_worker.places import ForbiddenPlace, check_host, is_public


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1",
        "10.1.2.3",
        "172.16.0.1",
        "192.168.1.1",
        "169.254.169.254",
        "100.64.0.1",
        "0.0.0.0",
        "224.0.0.1",
        "::1",
        "fe80::1%eth0",
        "fd00::1",
        "::ffff:127.0.0.1",
        "2002:7f00:1::",
    ],
)
def test_addresses_that_are_not_public(address: str) -> None:
    assert not is_public(address)


@pytest.mark.parametrize("address", ["8.8.8.8", "2606:4700::1111", "::ffff:8.8.8.8"])
def test_public_addresses(address: str) -> None:
    assert is_public(address)


def test_a_list_of_hosts() -> None:
    hosts = frozenset({"photos.example.org", ".cdn.example.org"})
    check_host("PHOTOS.example.org.", hosts)
    check_host("a.b.cdn.example.org", hosts)
    check_host("anything", frozenset())
    for host in (
        "example.org",
        "cdn.example.org",
        "evil-cdn.example.org.attacker.net",
        "xcdn.example.org",
        "",
    ):
        with pytest.raises(ForbiddenPlace):
            check_host(host, hosts)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[str]:
    """Has /p.png, and leads from /away?HOST to that host."""
    draw(tmp_path / "p.png", "ann")
    content = (tmp_path / "p.png").read_bytes()

    class Answer(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            if self.path.startswith("/away"):
                self.send_response(302)
                port = self.server.server_address[1]
                self.send_header("Location", f"http://{self.path.partition('?')[2]}:{port}/p.png")
                self.end_headers()
                return
            self.send_response(200)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Answer) as running:
        thread = threading.Thread(target=running.serve_forever)
        thread.start()
        yield f":{running.server_port}"
        running.shutdown()
        thread.join()


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
def test_private_hosts_are_refused_by_name_and_by_address(server: str, host: str) -> None:
    with pytest.raises(UnreadablePicture) as refused:
        load(f"http://{host}{server}/p.png", Limits(private_hosts=False))
    assert refused.value.reason == "forbidden"


def test_private_hosts_can_be_allowed(server: str) -> None:
    assert load(f"http://127.0.0.1{server}/p.png", Limits(private_hosts=True)).shape[2] == 3


def test_a_redirect_does_not_lead_to_another_host(server: str) -> None:
    limits = Limits(hosts=frozenset({"localhost"}))
    assert load(f"http://localhost{server}/away?localhost", limits).shape[2] == 3
    with pytest.raises(UnreadablePicture) as refused:
        load(f"http://localhost{server}/away?127.0.0.1", limits)
    assert refused.value.reason == "forbidden"
