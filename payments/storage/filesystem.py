"""On what kind of file system a SQLite file lies; a network drive is refused.

SQLite's WAL shares memory between the processes that use a file, and its locks must hold. Over a network neither is
so: two writers can both believe that they are alone, and books break silently.
"""

import os
import re
from pathlib import Path

# Documented: sqlite.org/wal.html ("WAL does not work over a network filesystem") and sqlite.org/faq.html, question 5.
_NETWORK = frozenset(
    {
        "nfs",
        "nfs4",
        "cifs",
        "smb3",
        "smbfs",
        "9p",
        "afs",
        "ceph",
        "glusterfs",
        "lustre",
        "gfs2",
        "ocfs2",
        "davfs",
    }
)

# FUSE says which program serves the files; those that reach over a network are named, since others are local disks
# (ntfs-3g, lvm, a user's overlay).
_NETWORK_FUSE = frozenset(
    {
        "sshfs",
        "s3fs",
        "rclone",
        "gcsfuse",
        "goofys",
        "glusterfs",
        "ceph",
        "cephfs",
        "curlftpfs",
        "davfs",
        "smbnetfs",
    }
    | {"gvfsd-fuse", "blobfuse", "blobfuse2", "juicefs", "seaweedfs", "mount-s3", "hdfs", "moosefs", "mfs"}
)

_MOUNTS = Path("/proc/self/mounts")


def network_drive(path: Path, mounts: str | None = None) -> str | None:
    """The kind of network drive that ``path`` is on (such as nfs4); None for a local disk, or when none can tell.

    ``path`` need not exist. ``mounts`` is the text of /proc/self/mounts; None reads it, where there is one (Linux).
    """
    if mounts is None:
        try:
            mounts = _MOUNTS.read_text("utf-8", "surrogateescape")
        except OSError:
            return None
    kind = _kind_of(os.path.realpath(path), mounts)
    name, _, program = kind.partition(".")
    if name in _NETWORK or (name == "fuse" and program.split("#")[0].lower() in _NETWORK_FUSE):
        return kind
    return None


def _kind_of(path: str, mounts: str) -> str:
    """The type of the mount that holds the path: the longest one, and of equals the last, which covers the others."""
    found, found_length = "", -1
    for line in mounts.splitlines():
        fields = line.split(" ")
        if len(fields) < 3:
            continue
        folder = _unescaped(fields[1]).rstrip("/")
        if (path == folder or path.startswith(f"{folder}/")) and len(folder) >= found_length:
            found, found_length = fields[2], len(folder)
    return found


def _unescaped(text: str) -> str:
    # Documented: proc(5), fstab(5): space, tab, newline and backslash are written as \040, \011, \012, \134.
    return re.sub(r"\\([0-7]{3})", lambda match: chr(int(match[1], 8)), text)
