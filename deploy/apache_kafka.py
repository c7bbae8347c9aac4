"""Apache Kafka on this machine: one node in KRaft mode, from jars that Maven fetches once.

`python -m deploy.apache_kafka` becomes the broker. Its messages, groups and offsets are in its folder and
outlive restarts and `kill -9`; Kafka leaves flushing to the system, so a power cut may cost the last of them.
"""

from __future__ import annotations

import argparse
import os
import re
import secrets
import shutil
import subprocess
import sys
from base64 import urlsafe_b64encode
from importlib.resources import as_file, files
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

from deploy.processes import free_port
from schemas.errors import GalleryError, SetupError

VERSION: Final = "4.1.0"
"""The version that deploy/kafka/pom.xml names."""

JAVA: Final = 17
_PLUGIN: Final = "org.apache.maven.plugins:maven-dependency-plugin:3.8.1:copy-dependencies"
_ELSE: Final = "or run without it: --broker tansu (embedded), --broker HOST:PORT (a Kafka that runs already)"

_PROPERTIES: Final = """\
process.roles=broker,controller
node.id=1
controller.quorum.voters=1@{host}:{controller_port}
controller.listener.names=CONTROLLER
listeners=CLIENTS://{host}:{port},CONTROLLER://{host}:{controller_port}
advertised.listeners=CLIENTS://{host}:{port}
inter.broker.listener.name=CLIENTS
listener.security.protocol.map=CLIENTS:PLAINTEXT,CONTROLLER:PLAINTEXT
log.dirs={folder}/messages
auto.create.topics.enable=false
# One node: nothing can be kept three times, as is Kafka's default.
offsets.topic.replication.factor=1
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
offsets.topic.num.partitions=4
transaction.state.log.num.partitions=4
share.coordinator.state.topic.num.partitions=4
# A group begins at once, and misses a member that was killed within seconds (Kafka's own: 3 s and 45 s).
group.initial.rebalance.delay.ms=0
group.consumer.min.session.timeout.ms={session_ms}
group.consumer.session.timeout.ms={session_ms}
group.consumer.min.heartbeat.interval.ms={heartbeat_ms}
group.consumer.heartbeat.interval.ms={heartbeat_ms}
group.min.session.timeout.ms=1000
"""


def require_java(java: str = "java") -> str:
    """The path of a Java that runs Kafka. Raises SetupError: none, or too old."""
    found = shutil.which(java)
    if found is None:
        raise SetupError(
            f"Apache Kafka needs Java {JAVA} or newer, and there is no `java`: install it, {_ELSE}"
        )
    told = subprocess.run([found, "-version"], capture_output=True, text=True, check=False)  # noqa: S603
    version = re.search(r'version "(\d+)', told.stderr + told.stdout)
    if version is None or int(version[1]) < JAVA:
        raise SetupError(
            f"Apache Kafka needs Java {JAVA} or newer, and {found} is "
            f"{version[1] if version else 'no Java'}: install a newer one, {_ELSE}"
        )
    return found


def jars(cache: Path) -> Path:
    """Where the jars lie, or would."""
    return cache / f"kafka-{VERSION}"


def require_jars(cache: Path) -> Path:
    """The folder of the jars, which Maven fills when it is not there yet (45 MB). Raises SetupError."""
    wanted = jars(cache)
    if wanted.is_dir():
        return wanted
    maven = shutil.which("mvn")
    if maven is None:
        raise SetupError(
            f"Apache Kafka's jars are not in {wanted} and there is no `mvn` (Maven) to fetch them: "
            f"install it, {_ELSE}"
        )
    try:
        cache.mkdir(parents=True, exist_ok=True)
        with TemporaryDirectory(dir=cache) as temporary, as_file(files("deploy").joinpath("kafka")) as source:
            # A copy: Maven may write beside its pom, and the package may lie where nobody can write.
            project = Path(temporary, "project")
            shutil.copytree(source, project)
            fetched = Path(temporary, "jars")
            # fmt: off
            argv = [
                maven, "--batch-mode", "--quiet", "--strict-checksums", "--file", str(project / "pom.xml"),
                _PLUGIN, "-DincludeScope=runtime", f"-DoutputDirectory={fetched}",
            ]
            # fmt: on
            done = subprocess.run(argv, capture_output=True, text=True, check=False)  # noqa: S603
            if done.returncode:
                told = (done.stdout + done.stderr).strip().splitlines()
                raise SetupError(
                    f"Maven could not fetch Apache Kafka: {told[0] if told else 'no reason given'}"
                )
            if not wanted.is_dir():  # else somebody else was faster
                fetched.rename(wanted)
    except OSError as error:
        raise SetupError(
            f"Apache Kafka's jars cannot be kept in {wanted} ({error.strerror}): "
            "name another folder with GALLERY_KAFKA_CACHE"
        ) from error
    return wanted


def prepare(folder: Path, java: str, classpath: str, *, host: str, port: int, session_ms: int) -> Path:
    """The configuration of the broker, and its storage formatted; returns the file. Raises SetupError.

    The controller listens on a free port, a new one at every start: only this process talks to it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / "server.properties"
    file.write_text(
        _PROPERTIES.format(
            host=host,
            port=port,
            controller_port=free_port(host),
            folder=str(folder.resolve()).replace("\\", "/"),
            session_ms=session_ms,
            heartbeat_ms=min(1000, session_ms // 3),
        )
    )
    if not (folder / "messages" / "meta.properties").exists():
        cluster = urlsafe_b64encode(b"\0" + secrets.token_bytes(15)).decode().rstrip("=")
        # fmt: off
        argv = [
            java, "-XX:TieredStopAtLevel=1", "-cp", classpath, "kafka.tools.StorageTool",
            "format", "--ignore-formatted", "--cluster-id", cluster, "--config", str(file),
        ]
        # fmt: on
        done = subprocess.run(argv, capture_output=True, text=True, check=False)  # noqa: S603
        if done.returncode:
            raise SetupError(
                f"Apache Kafka cannot use {folder}: {(done.stderr or done.stdout).strip()[-500:]}"
            )
    return file


def command(folder: Path, cache: Path, *, host: str, port: int, session_ms: int) -> list[str]:
    """The command of this broker, which is this module first. Raises SetupError without Java."""
    require_java()
    # fmt: off
    return [
        sys.executable, "-m", "deploy.apache_kafka",
        "--folder", str(folder), "--cache", str(cache),
        "--host", host, "--port", str(port), "--session-ms", str(session_ms),
    ]
    # fmt: on


def _become_kafka(arguments: argparse.Namespace) -> None:
    java = require_java()
    classpath = str(require_jars(arguments.cache) / "*")
    file = prepare(
        arguments.folder,
        java,
        classpath,
        host=arguments.host,
        port=arguments.port,
        session_ms=arguments.session_ms,
    )
    # fmt: off
    argv = [
        java, "-Xms128m", "-Xmx512m", "-XX:+UseSerialGC", "-XX:+ExitOnOutOfMemoryError",
        "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn",
        "-Dorg.slf4j.simpleLogger.showDateTime=true",
        "-Dorg.slf4j.simpleLogger.dateTimeFormat=yyyy-MM-dd'T'HH:mm:ss.SSS",
        "-cp", classpath, "kafka.Kafka", str(file),
    ]
    # fmt: on
    os.execv(java, argv)  # noqa: S606 - whoever started us holds the process of the broker itself


def _main() -> int:
    parser = argparse.ArgumentParser(prog="python -m deploy.apache_kafka", description=__doc__)
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--cache", type=Path, required=True)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--session-ms", type=int, required=True)
    try:
        _become_kafka(parser.parse_args())
    except GalleryError as error:
        sys.stderr.write(f"{error}\n")
    return 1


if __name__ == "__main__":
    sys.exit(_main())
