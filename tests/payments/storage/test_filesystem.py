"""Network drives: told by the mounts, refused for SQLite, with the remedy."""

from pathlib import Path

import pytest

from payments.errors import LedgerUnusable
from payments.storage import filesystem
from payments.storage.database import open_database
from payments.storage.filesystem import network_drive

MOUNTS = r"""/dev/vda / ext4 rw,relatime 0 0
proc /proc proc rw 0 0
nas:/export /mnt/nas nfs4 rw,vers=4.2 0 0
/dev/sdb1 /mnt/nas/disk xfs rw 0 0
//server/books /mnt/our\040books cifs rw 0 0
me@host:/ /home/me/far fuse.sshfs rw 0 0
/dev/sdc1 /media/stick fuseblk rw 0 0
portal /run/user/1/doc fuse.portal rw 0 0
C:\134 /mnt/c 9p rw,aname=drvfs 0 0
tmpfs /mnt/over tmpfs rw 0 0
nas:/b /mnt/over nfs rw 0 0
broken line
"""


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("/data/repasse.db", None),
        ("/mnt/nas/repasse.db", "nfs4"),
        ("/mnt/nas/deep/er/repasse.db", "nfs4"),
        ("/mnt/nasty/repasse.db", None),
        ("/mnt/nas/disk/repasse.db", None),
        ("/mnt/our books/repasse.db", "cifs"),
        ("/home/me/far/repasse.db", "fuse.sshfs"),
        ("/media/stick/repasse.db", None),
        ("/run/user/1/doc/repasse.db", None),
        ("/mnt/c/Users/repasse.db", "9p"),
        ("/mnt/over/repasse.db", "nfs"),
    ],
)
def test_the_mount_that_holds_the_file_decides(path: str, kind: str | None) -> None:
    """The longest one; the last of several at one place; with spaces in its name; local FUSE disks are local."""
    assert network_drive(Path(path), MOUNTS) == kind


def test_a_link_is_followed(tmp_path: Path) -> None:
    """What counts is where the file is."""
    (tmp_path / "link").symlink_to("/mnt/nas")
    assert network_drive(tmp_path / "link" / "repasse.db", MOUNTS) == "nfs4"


def test_where_there_are_no_mounts_to_read_nothing_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """macOS and others."""
    monkeypatch.setattr(filesystem, "_MOUNTS", tmp_path / "nothing")
    assert network_drive(tmp_path / "repasse.db") is None


def test_books_on_a_network_drive_are_refused_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One line that names the file, the kind of drive and what to put."""
    mounts = tmp_path / "mounts"
    mounts.write_text(f"/dev/vda / ext4 rw 0 0\nnas:/export {tmp_path} nfs rw 0 0\n")
    monkeypatch.setattr(filesystem, "_MOUNTS", mounts)
    with pytest.raises(LedgerUnusable) as caught:
        open_database(f"sqlite:///{tmp_path / 'repasse.db'}")
    message = str(caught.value)
    assert "repasse.db is on a network drive (nfs)" in message
    assert "postgresql+psycopg://" in message
    assert "\n" not in message
