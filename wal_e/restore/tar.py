"""
Members of a tar: POSIX ustar, with pax records where a name, a size or a time does not fit (IEEE Std 1003.1, pax).

The standard library makes the headers; here is only what it leaves to a file object that it wants to write to itself.
"""

import pwd
import tarfile
from dataclasses import dataclass
from typing import Final

_BLOCK: Final = tarfile.BLOCKSIZE
END: Final = bytes(2 * _BLOCK)
"""Two blocks of zeros end a tar."""


@dataclass(frozen=True, slots=True)
class Owner:
    """Who owns the members: names, which count where they are known, and numbers, which count elsewhere."""

    user: str
    group: str
    uid: int
    gid: int

    @classmethod
    def of(cls, user: str, group: str) -> "Owner":
        """From the names in a manifest: the numbers they have on this host, or the numbers that they are."""
        try:
            entry = pwd.getpwnam(user)
        except KeyError:
            return cls(user, group, _number(user), _number(group))
        return cls(user, group, entry.pw_uid, entry.pw_gid)


@dataclass(frozen=True, slots=True)
class Member:
    """A file, or a directory; `size` in bytes, `mtime` in seconds since 1970."""

    path: str
    size: int
    mode: int
    mtime: int
    directory: bool = False


def header(member: Member, owner: Owner) -> bytes:
    """What stands before the content of a member."""
    info = tarfile.TarInfo(member.path)
    info.type = tarfile.DIRTYPE if member.directory else tarfile.REGTYPE
    info.size, info.mode, info.mtime = member.size, member.mode, member.mtime
    info.uname, info.gname, info.uid, info.gid = owner.user, owner.group, owner.uid, owner.gid
    return info.tobuf(tarfile.PAX_FORMAT, "utf-8", "surrogateescape")


def padding(size: int) -> bytes:
    """What stands behind the content of a member of so many bytes."""
    return bytes(-size % _BLOCK)


def _number(name: str) -> int:
    return int(name) if name.isascii() and name.isdecimal() else 0
