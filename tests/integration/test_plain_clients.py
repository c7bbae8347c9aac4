"""Other people's programs: plain Kafka, curl and clickhouse-connect, none of our code on their side."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from uuid import uuid4

import clickhouse_connect
import pytest
from clickhouse_connect.driver.client import Client
from clickhouse_connect.driver.exceptions import ClickHouseError
from live_stack import Live, wait_for

pytestmark = pytest.mark.stack

PUBLISH = """
import json, sys, time, uuid
from datetime import datetime, timezone
from confluent_kafka import Producer

producer = Producer({"bootstrap.servers": sys.argv[1]})
for number in range(3):
    event = {
        "event_id": str(uuid.uuid4()),
        "type": "photo.uploaded",
        "version": 1,
        "gallery_id": sys.argv[2],
        "occurred_at": datetime.now(timezone.utc).isoformat(),
        "producer": "a script",
        "visitor_id": "visitor-1",
        "photo_id": f"photo-{number}",
        "origin": "community",
        "bytes": 1000,
        "width": 640,
        "height": 480,
        "uri": "https://example.org/photo.jpg",
    }
    producer.produce("gallery.events", json.dumps(event), key=f"{sys.argv[2]}:photo-{number}")
assert producer.flush(20) == 0
ours = {"schemas", "producers", "sinks", "deploy"} & set(sys.modules)
assert not ours, ours
"""

KPIS = """
SELECT uploaded, contributed, bytes
FROM kpis(galleries = [{gallery:String}], since = toDateTime64('2020-01-01', 3, 'UTC'), until = now64(3) + 60)
FORMAT JSONEachRow
"""


@pytest.fixture(scope="module")
def gallery(shared_live: Live, tmp_path_factory: pytest.TempPathFactory) -> str:
    """A gallery with three photos that a script published."""
    name = f"script-{uuid4().hex[:8]}"
    script = tmp_path_factory.mktemp("script") / "publish.py"
    script.write_text(PUBLISH)
    shared_live.wait_until_works()
    subprocess.run(
        [sys.executable, "-I", str(script), shared_live.settings.kafka_bootstrap, name],
        check=True,
        timeout=60,
    )
    client = shared_live.client(reader=True)
    photos = "SELECT count() FROM photos WHERE gallery_id = {g:String}"
    wait_for(lambda: client.query(photos, {"g": name}).result_rows == [(3,)], "three photos")
    client.close()
    return name


@pytest.fixture
def login(live: Live) -> tuple[str, str]:
    """The reader as `credentials.json` tells it, which is where the README sends people."""
    users = json.loads((live.folder / "credentials.json").read_text())
    (reader,) = [user for user in users if user.get("read_only")]
    return reader["name"], reader["password"]


def curl(live: Live, *arguments: str, user: str | None) -> subprocess.CompletedProcess[str]:
    program = shutil.which("curl")
    if program is None:
        pytest.skip("there is no curl")
    url = f"http://127.0.0.1:{live.settings.clickhouse_port}/?database=gallery"
    who = ["--user", user] if user else []
    return subprocess.run(
        [program, "-sS", "--fail-with-body", "--max-time", "30", *who, url, *arguments],
        capture_output=True,
        text=True,
        check=False,
    )


def test_curl_reads_a_metric(live: Live, gallery: str, login: tuple[str, str]) -> None:
    user = ":".join(login)
    wait_for(
        lambda: (
            json.loads(
                curl(
                    live, "--form-string", f"query={KPIS}", "-F", f"param_gallery={gallery}", user=user
                ).stdout
                or "{}"
            )
            == {"uploaded": 3, "contributed": 3, "bytes": 3000}
        ),
        "three photos",
        20,
    )
    simple = "SELECT count() FROM photo_states WHERE gallery_id = '" + gallery + "'"
    assert curl(live, "--data-binary", simple, user=user).stdout == "3\n"


@pytest.mark.parametrize("user", [None, "reader:wrong", "nobody:nothing"])
def test_curl_without_the_password_reads_nothing(live: Live, gallery: str, user: str | None) -> None:
    done = curl(live, "--data-binary", "SELECT count() FROM photo_states", user=user)
    assert done.returncode == 22, "an HTTP error"
    assert not done.stdout.strip().isdigit()


def test_plain_clickhouse_connect_reads_a_metric(live: Live, gallery: str, login: tuple[str, str]) -> None:
    client = clickhouse_connect.get_client(
        host="127.0.0.1",
        port=live.settings.clickhouse_port,
        username=login[0],
        password=login[1],
        database="gallery",
    )
    result = client.query(KPIS.replace("FORMAT JSONEachRow", ""), parameters={"gallery": gallery})
    assert result.first_item == {"uploaded": 3, "contributed": 3, "bytes": 3000}
    (visitor,) = client.query(
        "SELECT visitor_id, photos FROM recent_contributions(galleries = {galleries:Array(String)}, "
        "since = toDateTime64('2020-01-01', 3, 'UTC'), until = now64(3) + 60)",
        parameters={"galleries": [gallery]},
    ).result_rows
    assert visitor == ("visitor-1", 3)
    client.close()


@pytest.mark.parametrize(
    "statement",
    [
        "INSERT INTO events (gallery_id) VALUES ('forged')",
        "INSERT INTO metrics SELECT * FROM metrics",
        "ALTER TABLE events DELETE WHERE 1",
        "TRUNCATE TABLE events",
        "DROP TABLE events",
        "CREATE TABLE mine (id UInt8) ENGINE = Memory",
        "SET max_threads = 1",
        "SELECT * FROM file('{file}', 'LineAsString')",
        "SELECT * FROM url('{url}', 'LineAsString')",
        "SELECT 1 INTO OUTFILE '{file}.out'",
        "SELECT * FROM executable('id', 'LineAsString', 'line String')",
    ],
)
def test_the_reader_only_reads(
    live: Live, gallery: str, client: Client, reader: Client, tmp_path: Path, statement: str
) -> None:
    secret = tmp_path / "secret"
    secret.write_text("not for readers")
    url = f"http://127.0.0.1:{live.settings.clickhouse_port}/ping"
    before = client.query("SELECT count() FROM events").first_row
    with pytest.raises(ClickHouseError) as refused:
        reader.command(statement.format(file=secret, url=url))
    assert "not for readers" not in str(refused.value)
    assert client.query("SELECT count() FROM events").first_row == before
    assert client.command("EXISTS TABLE mine") == 0
    assert [path.name for path in tmp_path.iterdir()] == ["secret"]
    assert reader.query(
        "SELECT count() FROM photo_states WHERE gallery_id = {g:String}", {"g": gallery}
    ).first_row == (3,)
