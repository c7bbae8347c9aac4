"""Security options of librdkafka, as Faust takes them: one setting serves both clients."""

from __future__ import annotations

import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from schemas.errors import SetupError

_PROTOCOLS: Final = ("PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL")
_MECHANISMS: Final = ("PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512")
_KNOWN: Final = frozenset(
    {
        "sasl.mechanism",
        "sasl.mechanisms",
        "sasl.username",
        "sasl.password",
        "ssl.ca.location",
        "ssl.certificate.location",
        "ssl.key.location",
        "ssl.key.password",
        "ssl.endpoint.identification.algorithm",
    }
)


@dataclass(frozen=True)
class Security:
    """How to connect: TLS if there is a `context`, SASL if there is a `mechanism`."""

    context: ssl.SSLContext | None = None
    mechanism: str | None = None
    username: str = ""
    password: str = field(default="", repr=False)


def security(options: Mapping[str, str]) -> Security:
    """What librdkafka's options say of security; the others (sizes, times) do not concern Faust.

    Raises SetupError on what the refresh worker cannot do, rather than connect less safely, and on
    files that cannot be read.
    """
    protocol = options.get("security.protocol", "PLAINTEXT").upper()
    if protocol not in _PROTOCOLS:
        raise SetupError(f"security.protocol is one of {', '.join(_PROTOCOLS)}, not {protocol!r}")
    if foreign := sorted(
        name for name in options if (name.startswith(("sasl.", "ssl.", "enable.ssl.")) and name not in _KNOWN)
    ):
        raise SetupError(
            f"the refresh worker cannot use {', '.join(foreign)} of GALLERY_KAFKA_OPTIONS: "
            "it knows " + ", ".join(sorted(_KNOWN))
        )
    context = _context(options) if protocol.endswith("SSL") else None
    if not protocol.startswith("SASL"):
        return Security(context)
    mechanism = options.get("sasl.mechanism", options.get("sasl.mechanisms", "GSSAPI")).upper()
    if mechanism not in _MECHANISMS:
        raise SetupError(f"the refresh worker knows sasl.mechanism {', '.join(_MECHANISMS)}, not {mechanism}")
    return Security(context, mechanism, options.get("sasl.username", ""), options.get("sasl.password", ""))


def _context(options: Mapping[str, str]) -> ssl.SSLContext:
    try:
        context = ssl.create_default_context(cafile=options.get("ssl.ca.location"))
        if certificate := options.get("ssl.certificate.location"):
            context.load_cert_chain(
                certificate, options.get("ssl.key.location"), options.get("ssl.key.password")
            )
    except OSError as error:  # ssl.SSLError is one
        raise SetupError(f"the certificates of GALLERY_KAFKA_OPTIONS cannot be read: {error}") from error
    if options.get("ssl.endpoint.identification.algorithm", "https").lower() == "none":
        context.check_hostname = False
    return context
