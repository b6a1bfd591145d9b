"""The folder through which a driver's workers share data; it must not outlive them. No torch."""

from __future__ import annotations

import contextlib
import os
import shutil
import stat
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from filelock import FileLock, Timeout

from minaction.errors import StorageError

PREFIX = "minaction-shared-"
OWNER = "owner.lock"
RANDOM = 8  # characters that `mkdtemp` adds
SOCKET_PATH = 103  # characters a socket's path may have; on Linux 107
FRESH_SECONDS = 60.0  # a younger folder may not have been locked yet


@contextlib.contextmanager
def scratch_folder(*, socket_bytes: int = 0) -> Iterator[Path]:
    """Make a private folder among the temporary files and remove it in the end.

    Folders that an earlier driver had no time to remove, because it and its workers were killed
    all together, are removed first.

    Args:
        socket_bytes: Length of the longest path below the folder that is to be a socket; where that
            makes it too long for one, the folder is in /tmp, wherever temporary files belong.

    Raises:
        StorageError: There is no room for temporary files.
    """
    parent = Path(tempfile.gettempdir())
    if socket_bytes and len(os.fsencode(parent / PREFIX)) + RANDOM + socket_bytes > SOCKET_PATH:
        parent = Path("/tmp")
    _remove_abandoned(parent)
    try:
        folder = Path(tempfile.mkdtemp(prefix=PREFIX, dir=parent))
    except OSError as error:
        raise _no_room(parent, error) from error
    try:
        try:
            lock = FileLock(folder / OWNER, thread_local=False).acquire()
        except (OSError, NotImplementedError) as error:
            raise _no_room(parent, error) from error
        with lock:
            yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _remove_abandoned(parent: Path) -> None:
    for folder in parent.glob(f"{PREFIX}*"):
        with contextlib.suppress(OSError, NotImplementedError, Timeout):
            if _is_ours(folder) and (folder / OWNER).is_file():
                with FileLock(folder / OWNER, blocking=False):  # its owner is dead
                    shutil.rmtree(folder, ignore_errors=True)


def _is_ours(folder: Path) -> bool:
    """Whether this user made a folder, and not just now; never true of a link."""
    found = folder.lstat()
    return (
        stat.S_ISDIR(found.st_mode)
        and found.st_uid == os.getuid()
        and time.time() - found.st_mtime > FRESH_SECONDS
    )


def _no_room(parent: Path, error: Exception) -> StorageError:
    reason = getattr(error, "strerror", None) or error
    return StorageError(
        f"{parent}: no temporary folder can be made there ({reason}); make room or "
        "name another place in TMPDIR, then run the same command again"
    )
