"""Which hosts pictures may be fetched from. URIs come from events: one could name the inside of our network.

What counts is the address that a connection is about to go to, whatever the name resolved to a moment before
and wherever a redirect leads. So the check sits where the socket is made.
"""

from __future__ import annotations

import socket
from collections.abc import Awaitable, Callable
from functools import cache
from ipaddress import ip_address
from typing import Any

import aiohttp
from aiohttp.client_reqrep import ClientRequest

from schemas.errors import GalleryError

GetClient = Callable[..., Awaitable[aiohttp.ClientSession]]


class ForbiddenPlace(GalleryError):  # noqa: N818 - it names what was found
    """A host that pictures may not be fetched from."""


@cache
def client_factory(hosts: frozenset[str], *, private: bool) -> GetClient:
    """What fsspec is to make its HTTP client with.

    `hosts`: names that may be asked, ".example.org" stands for every name below it; empty: any. `private`:
    whether addresses that are not of the public internet may be asked (10.0.0.0/8, 127.0.0.1, link-local and
    so on). A client raises ForbiddenPlace.
    """

    class Connector(aiohttp.TCPConnector):
        async def connect(self, req: ClientRequest, *args: Any, **kwargs: Any) -> Any:
            check_host(req.url.host or "", hosts)  # for each redirect, too
            return await super().connect(req, *args, **kwargs)

    def make_socket(address: tuple[Any, ...]) -> socket.socket:
        family, kind, protocol, _, place = address
        if not private and not is_public(str(place[0])):
            raise ForbiddenPlace("its host is not on the public internet: see GALLERY_FACES_PRIVATE_HOSTS")
        return socket.socket(family, kind, protocol)

    async def get_client(**kwargs: Any) -> aiohttp.ClientSession:
        kwargs.pop("loop", None)
        return aiohttp.ClientSession(connector=Connector(socket_factory=make_socket), **kwargs)

    return get_client


def check_host(host: str, hosts: frozenset[str]) -> None:
    """Raise ForbiddenPlace if there is a list of hosts and this one is not on it."""
    host = host.lower().rstrip(".")
    if hosts and host not in hosts and not any(one.startswith(".") and host.endswith(one) for one in hosts):
        raise ForbiddenPlace("its host is not one of GALLERY_FACES_HOSTS")


def is_public(address: str) -> bool:
    """Whether an IP address is one of the public internet; IPv4 inside IPv6 counts as what it is."""
    found = ip_address(address.partition("%")[0])
    mapped = getattr(found, "ipv4_mapped", None) or getattr(found, "sixtofour", None)
    return (mapped or found).is_global and not found.is_multicast
