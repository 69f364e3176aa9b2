"""Program: unpack a tar archive into a root file system, seen from inside that root.

Run as a process of its own (`python place.py ROOT ARCHIVE`): it changes its root folder before it writes, so that an
absolute link of an image, such as `/opt` → `/srv`, leads to the image's `/srv` and never to the host's. Imports
nothing of Aegis, and everything it needs before the change.
"""

from __future__ import annotations

import os
import shutil
import sys
import tarfile


def unpack(archive: tarfile.TarFile) -> None:
    """Put every entry below `/`: folders are joined with those that exist, anything else is replaced."""
    for member in archive:
        target = "/" + member.name
        if member.isdir():
            make_folder(target, member.mode)
            continue
        make_folder(os.path.dirname(target), 0o755)
        if os.path.isdir(target) and not os.path.islink(target):
            sys.exit(f"{target} is a folder in the image and a file in the project")
        if os.path.lexists(target):
            os.unlink(target)
        if member.issym():
            os.symlink(member.linkname, target)
        else:
            content = archive.extractfile(member)
            assert content is not None
            with content, open(target, "wb") as stream:
                shutil.copyfileobj(content, stream)
            os.chmod(target, member.mode)
            os.utime(target, (member.mtime, member.mtime))


def make_folder(path: str, mode: int) -> None:
    if not os.path.isdir(path):
        os.makedirs(path, mode)


def main(root: str, name: str) -> None:
    with tarfile.open(name, "r:") as archive:
        os.chroot(root)
        os.chdir("/")
        os.umask(0o022)
        unpack(archive)


if __name__ == "__main__":
    main(*sys.argv[1:])
