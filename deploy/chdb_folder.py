"""A data folder of chDB: open it for this process alone, and notice when it could not be written.

chDB passes over a write to a file that fails (the exception in its WriteBufferFromFileDescriptor is commented
out; a ClickHouse server raises it) and stores a part that is not all there, in inserts and merges. It counts
such writes, though. So whoever has the folder open looks at the count, and ends when it grows: the next start
sets aside what is not whole and takes what it was merged from.
"""

import fcntl
import os
import re
from pathlib import Path
from typing import Any

import chdb

_FAILED_WRITES = (
    "SELECT sum(value) FROM system.events WHERE event = 'WriteBufferFromFileDescriptorWriteFailed'"
)
_CONFIGURATION = """
<clickhouse>
    <storage_configuration>
        <disks><default><keep_free_space_bytes>%d</keep_free_space_bytes></default></disks>
    </storage_configuration>
    <merge_tree>
        <!-- Seconds that merged parts stay beside one that may not have been written whole; 0 in chDB. -->
        <old_parts_lifetime>60</old_parts_lifetime>
        <!-- However many and large they are, parts that are not whole keep no table from being opened. -->
        <max_suspicious_broken_parts>1000000</max_suspicious_broken_parts>
        <max_suspicious_broken_parts_bytes>1000000000000000</max_suspicious_broken_parts_bytes>
    </merge_tree>
</clickhouse>
"""


class FolderInUseError(RuntimeError):
    """Another process has the data folder open."""


def open_folder(path: Path, keep_free: int) -> Any:
    """The handle that opens the engine on `path`, which is made if missing. Raises FolderInUseError.

    It alone can bring a configuration, which holds for all other handles of the process.
    """
    if set("?&") & set(str(path)):
        raise ValueError(f"{path}: a data folder's name has no '?' or '&', chDB reads options behind them")
    path.mkdir(parents=True, exist_ok=True)
    _check_lock(path / "status")
    reading, writing = os.pipe()  # and no file: it has to come when the disk is full, too
    try:
        os.write(writing, (_CONFIGURATION % keep_free).encode())
        os.close(writing)
        return chdb.connect(f"{path}?config-file=/dev/fd/{reading}")
    except RuntimeError as error:
        raise FolderInUseError(f"chDB cannot open {path}: {error}") from error
    finally:
        os.close(reading)


def failed_writes(handle: Any) -> int:
    """How many writes to files and pipes failed since the engine was opened."""
    return int(text_of(handle, _FAILED_WRITES))


def text_of(handle: Any, sql: str) -> str:
    """The answer to a query as it stands, in lines."""
    return str(handle.query(sql, "TabSeparatedRaw").bytes().decode())


def _check_lock(status: Path) -> None:
    """ClickHouse locks this file while it has the folder open, and writes its process id into it."""
    if not status.exists():
        return
    with status.open("rb") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = re.search(rb"PID: (\d+)", file.read(200))
            by = f"process {holder[1].decode()}" if holder else "another process"
            raise FolderInUseError(
                f"{status.parent} is in use by {by}: chDB allows one process per data folder. "
                "Use the ClickHouse interface that already serves it, stop it, or name another folder."
            ) from None
