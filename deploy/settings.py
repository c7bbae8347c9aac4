"""Every setting of the product, and the only code that reads the environment.

`deploy/SETTINGS.md` is made from the descriptions below: `python -m deploy.settings > deploy/SETTINGS.md`.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any, Final, Literal, get_args, get_origin

from pydantic import Field, SecretStr, StringConstraints, ValidationError
from pydantic.fields import FieldInfo
from pydantic_settings import BaseSettings, SettingsConfigDict

from deploy.brokers import (
    PROFILES,
    BrokerKind,
    BrokerProfile,
    admin_config,
    consumer_config,
    faust_config,
    producer_config,
)
from deploy.logs import LogFormat
from schemas.errors import SetupError

PREFIX: Final = "GALLERY_"
MASK: Final = "********"

Port = Annotated[int, Field(ge=1, le=65535)]
Servers = Annotated[str, StringConstraints(pattern=r"^[^\s,:]+:\d{1,5}(,[^\s,:]+:\d{1,5})*$")]
Identifier = Annotated[str, StringConstraints(pattern=r"^[A-Za-z_][A-Za-z0-9_]{0,62}$")]


class Settings(BaseSettings):
    """The settings of a process; each field is an environment variable with the prefix GALLERY_."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX, frozen=True, extra="forbid", env_ignore_empty=True, validate_default=False
    )

    broker: BrokerKind = Field(
        "tansu",
        description="Kind of Kafka broker: `tansu` (embedded, keeps nothing over a restart), `kafka` "
        "(Apache Kafka 4 with one node; `gallery up` starts it) or `external` (any other Kafka cluster)",
    )
    kafka_bootstrap: Servers = Field(
        "127.0.0.1:9092", description="Addresses of brokers, HOST:PORT separated by commas"
    )
    kafka_group_protocol: Literal["classic", "consumer"] | None = Field(
        None,
        description="Protocol of consumer groups, when the broker's kind has the wrong one: `consumer` "
        "(Kafka 4, joins faster) or `classic`",
    )
    kafka_options: dict[str, SecretStr] = Field(
        default_factory=dict,
        description="Further options of librdkafka as a JSON object, for security above all (the refresh "
        "worker, which has another client, takes only that from it): "
        '`{"security.protocol": "SASL_SSL", "sasl.mechanism": "PLAIN", ...}`',
    )

    kafka_cache: Path | None = Field(
        None,
        description="Folder for the jars of Apache Kafka, which Maven fetches once; without it "
        "`~/.cache/gallery-analytics`",
    )

    clickhouse: Literal["chdb", "server"] = Field(
        "chdb",
        description="`chdb`: `gallery up` starts the embedded engine; `server`: ClickHouse runs elsewhere",
    )
    clickhouse_host: str = Field("127.0.0.1", description="Host of ClickHouse's HTTP interface")
    clickhouse_port: Port = Field(8123, description="Port of ClickHouse's HTTP interface")
    clickhouse_secure: bool = Field(default=False, description="Speak HTTPS with ClickHouse")
    clickhouse_keep_free: int = Field(
        1000,
        ge=0,
        description="MB of its disk that the embedded engine leaves free: no insert and no merge begins that "
        "would go below. On a disk that is really full it breaks tables",
    )
    clickhouse_database: Identifier = Field("gallery", description="Database of all tables and views")
    clickhouse_user: str = Field("gallery", description="User that writes")
    clickhouse_password: SecretStr | None = Field(
        None, description="Their password. The embedded stack makes one and keeps it in its folder"
    )
    reader_user: str = Field("reader", description="User that only reads: dashboards and analysts")
    reader_password: SecretStr | None = Field(
        None, description="Their password. The embedded stack makes one and keeps it in its folder"
    )

    ingest_batch: int = Field(10_000, ge=1, le=50_000, description="Most messages in one batch of ingest")
    ingest_wait: float = Field(
        0.5, gt=0, le=60, description="Seconds after which ingest writes a batch that is not full"
    )
    ingest_dead_letter_minimum: int = Field(
        1000,
        ge=1,
        description="Fewer dead letters than this in the latest messages (see the rate) never stop ingest",
    )
    ingest_dead_letter_rate: float = Field(
        0.5,
        ge=0,
        le=1,
        description="Share of dead letters in the latest messages (minimum / rate of them, or one batch) "
        "above which ingest stops",
    )
    refresh_look_every: float = Field(
        60.0,
        gt=0,
        description="Seconds between two looks for projections that are behind without a change saying so",
    )

    faces_model: Literal["facenet", "dlib", "arcface", "facenet512"] = Field(
        "facenet",
        description="Face model; `arcface` and `facenet512` need their weight file. Faces of two models "
        "are never compared",
    )
    faces_detector: Literal["mtcnn", "retinaface"] = Field(
        "mtcnn", description="What finds faces; `retinaface` needs its weight file"
    )
    faces_weights: Path | None = Field(
        None, description="Folder with weight files of face models; without it those of the extra `faces`"
    )
    faces_pictures: Path | None = Field(
        None, description="Folder that pictures named by file: must lie in; without it any folder may be read"
    )
    faces_max_bytes: int = Field(50_000_000, ge=1, description="Largest picture file that is read")
    faces_max_side: int = Field(1280, ge=64, description="Pictures are scaled to this longer side, in pixels")
    faces_match: float | None = Field(
        None,
        gt=0,
        description="Greatest distance between a selfie and a group that is a match; without it the model's",
    )
    faces_offer: float | None = Field(
        None,
        gt=0,
        description='Greatest distance at which a group is offered, "is this you?"; without it the model\'s',
    )
    faces_margin: float | None = Field(
        None,
        ge=0,
        description="How much nearer than the runner-up a match has to be; without it the model's",
    )

    viewer_host: str = Field(
        "127.0.0.1",
        description="Address that the viewer listens on. It has no login: who reaches it reads every gallery",
    )
    viewer_port: Port = Field(3000, description="Port of the viewer")
    viewer_hosts: str = Field(
        "",
        description="Further names under which browsers may ask the viewer, separated by commas: that of a "
        "reverse proxy, say",
    )
    viewer_max_seconds: float = Field(30.0, gt=0, le=600, description="Longest query of the viewer")
    viewer_max_rows: int = Field(100_000, ge=1000, description="Most rows in an answer of the viewer")
    viewer_max_megabytes: int = Field(64, ge=1, description="Largest answer of the viewer, in MB")
    faces_schemes: Annotated[str, StringConstraints(pattern=r"^(file|https?|s3)(,(file|https?|s3))*$")] = (
        Field(
            "file,http,https,s3", description="Schemes of picture URIs that are fetched, separated by commas"
        )
    )
    faces_hosts: str = Field(
        "",
        description="Hosts that pictures are fetched from over http and https, separated by commas; "
        "`.example.org` stands for every name below it; without any: every public host",
    )
    faces_private_hosts: bool = Field(
        default=False,
        description="Fetch pictures also from private networks and from this machine. URIs come from events: "
        "whoever may publish could reach what is not public",
    )
    faces_quiet: float = Field(
        60.0, gt=0, description="Seconds without uploads after which all faces of a gallery are grouped anew"
    )
    faces_look_every: float = Field(
        60.0, gt=0, description="Seconds between two looks of the face workers for what got lost on its way"
    )

    grafana_url: str | None = Field(
        None,
        description="Address of the Grafana that `gallery dashboards push` brings the dashboards to, such as "
        "`https://grafana.example.com`",
    )
    grafana_token: SecretStr | None = Field(
        None, description="Token of a service account there: role Editor, or Admin to add the data source"
    )

    export_host: str = Field("127.0.0.1", description="Address that the export service listens on")
    export_port: Port = Field(8090, description="Port of the export service")
    export_url: str | None = Field(
        None,
        pattern=r"^https?://[^\s?#]+$",
        description="URL under which people reach the export service; links to exports begin with it. "
        "Without it: its address and port",
    )
    export_secret: SecretStr | None = Field(
        None,
        min_length=32,
        description="What links to exports are signed with, 32 characters or more. A new one makes all links "
        "that there are invalid. The embedded stack makes one and keeps it in its folder",
    )
    export_max_days: int = Field(400, ge=1, description="Longest range of an export over HTTP, in days")
    export_max_galleries: int = Field(200, ge=1, description="Most galleries in an export over HTTP")
    export_max_rows: int = Field(10_000_000, ge=1, description="Most raw events in an export over HTTP")
    export_max_seconds: float = Field(
        300.0, gt=0, description="Longest time that one export over HTTP may take"
    )
    export_at_once: int = Field(
        2, ge=1, le=64, description="Exports made at the same time; more have to wait"
    )

    smtp_host: str | None = Field(None, description="Mail server for scheduled reports")
    smtp_port: Port = Field(587, description="Its port")
    smtp_security: Literal["starttls", "tls", "none"] = Field(
        "starttls", description="How mail is protected on its way: `starttls`, `tls` or `none`"
    )
    smtp_user: str | None = Field(None, description="User of the mail server; without one there is no login")
    smtp_password: SecretStr | None = Field(None, description="Their password")
    smtp_from: str = Field("gallery@localhost", description="Address that scheduled reports come from")

    folder: Path = Field(
        Path(".gallery"),
        description="Folder of the local stack: its tables, messages (Apache Kafka's), logs and passwords",
    )
    health_host: str = Field("127.0.0.1", description="Address of a worker's /live and /ready")
    health_port: Annotated[int, Field(ge=0, le=65535)] = Field(
        0, description="Port of a worker's /live and /ready; 0: a worker does not serve them"
    )
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = Field("INFO", description="Least level logged")
    log_format: LogFormat = Field(
        "auto", description="`console`, `json`, or `auto`: console on a terminal, else JSON"
    )

    @property
    def profile(self) -> BrokerProfile:
        """The broker's profile with what the settings say otherwise."""
        profile = PROFILES[self.broker]
        if self.kafka_group_protocol is None:
            return profile
        return replace(profile, group_protocol=self.kafka_group_protocol)

    @property
    def cache(self) -> Path:
        """Folder for what is fetched once."""
        return self.kafka_cache or Path.home() / ".cache" / "gallery-analytics"

    def consumer(self, group: str) -> dict[str, Any]:
        """Configuration of a confluent-kafka Consumer in `group`. Holds secrets: do not log it."""
        return consumer_config(self.profile, self.kafka_bootstrap, group, self._kafka_options())

    def producer(self) -> dict[str, Any]:
        """Configuration of a Publisher or a confluent-kafka Producer. Holds secrets."""
        return producer_config(self.profile, self.kafka_bootstrap, self._kafka_options())

    def admin(self) -> dict[str, Any]:
        """Configuration of a confluent-kafka AdminClient. Holds secrets."""
        return admin_config(self.kafka_bootstrap, self._kafka_options())

    def faust(self) -> dict[str, Any]:
        """Arguments of `faust.App`."""
        return faust_config(self.profile, self.kafka_bootstrap)

    def security(self) -> dict[str, str]:
        """The further options of librdkafka, for a client that is not librdkafka. Holds secrets."""
        return self._kafka_options()

    def _kafka_options(self) -> dict[str, str]:
        return {name: value.get_secret_value() for name, value in self.kafka_options.items()}


def load_settings(**overrides: Any) -> Settings:
    """The settings of the environment, with `overrides` (field names) over them. Raises SetupError."""
    try:
        return Settings(**overrides)
    except ValidationError as error:
        lines = [
            f"{variable(str(problem['loc'][0]))}: {problem['msg'][0].lower()}{problem['msg'][1:]}"
            for problem in error.errors(include_input=False, include_url=False)
        ]
        raise SetupError("; ".join(lines) + ". All settings: `gallery settings`") from None
    except ValueError as error:  # a JSON value that is no JSON
        raise SetupError(f"{error}. All settings: `gallery settings`") from error


def unknown_variables() -> list[str]:
    """Variables of the environment that look like settings and are none: misspelled, perhaps."""
    known = {variable(name) for name in Settings.model_fields}
    return sorted(
        name
        for name in os.environ
        if name.startswith(PREFIX) and name not in known and not name.startswith(f"{PREFIX}TEST_")
    )


def environment(settings: Settings) -> dict[str, str]:
    """The environment of a child process that is to have exactly these settings."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(PREFIX)}
    own = {
        variable(name): text
        for name in Settings.model_fields
        if (text := _text(getattr(settings, name), reveal=True)) is not None
    }
    return {**inherited, **own}


def variable(name: str) -> str:
    """The environment variable of a field: clickhouse_port → GALLERY_CLICKHOUSE_PORT."""
    return PREFIX + name.upper()


def current_values(settings: Settings) -> dict[str, str]:
    """Variable → value as text, secrets masked, "" for what is not set."""
    return {variable(name): _text(getattr(settings, name)) or "" for name in Settings.model_fields}


def settings_table() -> str:
    """Every setting as a Markdown table: variable, default, meaning."""
    rows = [
        f"| `{variable(name)}` | {_default(field)} | {field.description}{_choices(field)} |"
        for name, field in Settings.model_fields.items()
    ]
    return "\n".join(["| Variable | Default | Meaning |", "|---|---|---|", *rows]) + "\n"


def _text(value: object, *, reveal: bool = False) -> str | None:
    match value:
        case None:
            return None
        case SecretStr():
            return value.get_secret_value() if reveal else MASK
        case Mapping():
            return json.dumps({key: _text(item, reveal=reveal) for key, item in value.items()})
        case bool():
            return str(value).lower()
        case _:
            return str(value)


def _default(field: FieldInfo) -> str:
    text = _text(field.get_default(call_default_factory=True))
    return f"`{text}`" if text else ""


def _choices(field: FieldInfo) -> str:
    """The values of a choice whose description does not name them."""
    annotation = field.annotation
    choices = [str(choice) for choice in get_args(annotation)] if get_origin(annotation) is Literal else []
    if not choices or all(f"`{choice}`" in str(field.description) for choice in choices):
        return ""
    return f": {', '.join(f'`{choice}`' for choice in choices)}"


if __name__ == "__main__":
    sys.stdout.write(f"# Settings\n\nEach is an environment variable.\n\n{settings_table()}")
