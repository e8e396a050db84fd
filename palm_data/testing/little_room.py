"""A file system of so many bytes, for one process: a real disk that is really full, where the machine allows it."""

import ctypes
import os
from pathlib import Path

_NEW_USER, _NEW_MOUNTS = 0x10000000, 0x00020000  # linux/sched.h
_REMOUNT = 0x20  # linux/mount.h


def mount_little_room(folder: Path, size: int) -> None:
    """Mount a file system of `size` bytes on an empty folder, seen by this process and its children alone.

    The process enters name spaces of its own for it, for good. It may have one thread only.

    Raises:
        OSError: if the machine does not let us.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    user, group = os.getuid(), os.getgid()
    if libc.unshare(_NEW_USER | _NEW_MOUNTS) != 0:
        raise OSError(ctypes.get_errno(), "unshare")
    Path("/proc/self/setgroups").write_text("deny")
    Path("/proc/self/uid_map").write_text(f"{user} {user} 1")
    Path("/proc/self/gid_map").write_text(f"{group} {group} 1")
    _mount(libc, folder, size, 0)


def resize_room(folder: Path, size: int) -> None:
    """Give such a file system another size.

    Raises:
        OSError: if more than that is in use.
    """
    _mount(ctypes.CDLL(None, use_errno=True), folder, size, _REMOUNT)


def _mount(libc: ctypes.CDLL, folder: Path, size: int, flags: int) -> None:
    options = f"size={size}".encode()
    if libc.mount(b"room", os.fsencode(folder), b"tmpfs", ctypes.c_ulong(flags), options) != 0:
        raise OSError(ctypes.get_errno(), f"mount of {size} bytes on {folder}")
