"""
The thin client: asks the agent for `wal-push` and `wal-fetch`, before anything that costs is imported.

Whatever is not a complete answer means that the caller does the work itself. What an import costs counts here, so there
are modules of the interpreter's own only, and no `typing`, no `dataclasses`. native/wal-e.c is the same program in C,
and speaks of the same socket: change both, or none.
"""

import _socket
import posix
import sys
import zlib

from wal_e import __version__ as VERSION  # noqa: N812  part of the protocol's constants

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

PROTOCOL = f"wal-e-agent/1 {VERSION}"
"""The first field of the identity and of a request: another version is another agent."""
ASKED = ("wal-push", "wal-fetch")
"""The commands that an agent answers."""
COMMANDS = (*ASKED, "agent")
SILENCE = 10.0
"""Seconds without a byte until an agent counts as hung; one that works says so once a second."""
PREFIXES = ("WALE_", "SWIFT_", "OS_", "ST_", "AWS_", "GOOGLE_", "GS_", "WABS_", "AZURE_", "WALG_")
NAMES = frozenset((
    "HOME", "TMPDIR", "http_proxy", "https_proxy", "no_proxy", "all_proxy", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY",
    "ALL_PROXY", "SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE",
    "IDENTITY_ENDPOINT", "IDENTITY_HEADER", "STORAGE_EMULATOR_HOST",
))  # fmt: skip
# Not os.environ, which costs an import; and a copy, because os.environ writes to the original.
_ENVIRONMENT = dict(posix.environ)
_OFF = ("off", "0", "false", "no")
_PIECE = 65536
_TYPE_AND_OTHERS = 0o170077
_PRIVATE_DIRECTORY = 0o040000


class Answer:
    """A complete answer: the exit code, and the whole lines for stdout and stderr."""

    __slots__ = ("code", "err", "out")

    def __init__(self, code: int, out: bytes = b"", err: bytes = b"") -> None:
        self.code = code
        self.out = out
        self.err = err


class _Unanswered(Exception):
    """The agent refused, or what it said is no answer."""


def ask(argv: "Sequence[str]", environ: "Mapping[str, str] | None" = None) -> Answer | None:
    """
    The agent's answer to a command line (without the program's name); None where the caller has to do the work.

    `environ` is the environment whose agent is asked, by default that of the process as it was started. A signal ends
    the process or raises as its handler says.
    """
    words, command = split(argv)
    if not command or command[0] not in ASKED:
        return None
    entries = relevant(started_with() if environ is None else environ)
    if switched_off(entries) or not is_private(directory(entries)):
        return None
    try:
        message = request(argv, _text(posix.getcwdb()), entries)
    except OSError:
        return None
    return converse(socket_path(words, entries), message)


def asked_already() -> bool:
    """Whether this process asked an agent before it became this program: native/wal-e.c leaves its process id."""
    return _ENVIRONMENT.get(b"WAL_E_ASKED") == b"%d" % posix.getpid()


def split(argv: "Sequence[str]") -> tuple[list[str], list[str]]:
    """The global words, and the command with its own; no command where none of `COMMANDS` is called."""
    for place, word in enumerate(argv):
        if word in COMMANDS:
            return [*argv[:place]], [*argv[place:]]
    return [*argv], []


def relevant(environ: "Mapping[str, str]") -> list[str]:
    """The variables that make up a configuration, as "NAME=VALUE" in the order of their bytes."""
    kept = [f"{name}={value}" for name, value in environ.items() if name.startswith(PREFIXES) or name in NAMES]
    return sorted(kept, key=_bytes)


def switched_off(entries: "Iterable[str]") -> bool:
    """Whether WALE_AGENT among the relevant variables says that no agent is wanted."""
    return _value(entries, "WALE_AGENT").strip().lower() in _OFF


def directory(entries: "Iterable[str]") -> str:
    """Where the sockets of this user are: $WALE_AGENT_DIR, else /tmp/wal-e-<euid>. May not exist."""
    return _value(entries, "WALE_AGENT_DIR") or f"/tmp/wal-e-{posix.geteuid()}"  # noqa: S108  see is_private


def is_private(path: str) -> bool:
    """Whether a directory is there under an absolute path, is no link, and nobody else may put anything into it."""
    if not path.startswith("/"):
        return False
    try:
        found = posix.lstat(path)
    except (OSError, ValueError):
        return False
    return found.st_mode & _TYPE_AND_OTHERS == _PRIVATE_DIRECTORY and found.st_uid == posix.geteuid()


def socket_path(global_words: "Sequence[str]", entries: "Iterable[str]") -> str:
    """The socket of the agent for these relevant variables and words before the command. May not exist."""
    kept = [*entries]
    identity = b"\0".join(_bytes(part) for part in (PROTOCOL, *kept, *global_words))
    return f"{directory(kept)}/{zlib.crc32(identity):08x}.sock"


def request(argv: "Sequence[str]", cwd: str, entries: "Sequence[str]") -> bytes:
    """What is sent to the agent for a command line (without the program's name)."""
    return b"\0".join(_bytes(part) for part in (PROTOCOL, cwd, str(len(entries)), *entries, *argv))


def converse(path: str, message: bytes) -> Answer | None:
    """Sends a request to a socket, and returns the complete answer; None for anything else, after `SILENCE` at most."""
    try:
        connection = _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM | _socket.SOCK_CLOEXEC)
        try:
            connection.settimeout(SILENCE)
            connection.connect(path)
            if _peer(connection) != posix.geteuid():
                return None
            connection.sendall(message)
            connection.shutdown(_socket.SHUT_WR)
            return _answer(connection)
        finally:
            connection.close()
    except (OSError, _Unanswered):
        return None


def _answer(connection: "_socket.socket") -> Answer:
    """Collects lines up to the exit code; raises `_Unanswered`, and `OSError` for silence."""
    out: list[bytes] = []
    err: list[bytes] = []
    rest: list[bytes] = []
    while piece := connection.recv(_PIECE):
        first, *more = piece.split(b"\n")
        rest.append(first)
        for following in more:
            line = b"".join(rest)
            rest = [following]
            match line[:1]:
                case b".":
                    pass
                case b":":
                    err.append(line[1:] + b"\n")
                case b">":
                    out.append(line[1:] + b"\n")
                case b"=":
                    return Answer(_code(line[1:]), b"".join(out), b"".join(err))
                case _:
                    raise _Unanswered
    raise _Unanswered


def _code(digits: bytes) -> int:
    if not (digits.isdigit() and len(digits) <= 3 and int(digits) <= 255):  # noqa: PLR2004  what a process can return
        raise _Unanswered
    return int(digits)


def _peer(connection: "_socket.socket") -> int:
    """The user at the other end; struct ucred is pid, uid and gid, 4 bytes each (unix(7))."""
    credentials = connection.getsockopt(_socket.SOL_SOCKET, _socket.SO_PEERCRED, 12)
    return int.from_bytes(credentials[4:8], sys.byteorder)


def _value(entries: "Iterable[str]", name: str) -> str:
    start = f"{name}="
    return next((entry[len(start) :] for entry in entries if entry.startswith(start)), "")


def started_with() -> "Mapping[str, str]":
    """The environment that the process was started with, whatever it changed since."""
    return {_text(name): _text(value) for name, value in _ENVIRONMENT.items()}


def _bytes(text: str) -> bytes:
    return text.encode(sys.getfilesystemencoding(), "surrogateescape")


def _text(raw: bytes) -> str:
    return raw.decode(sys.getfilesystemencoding(), "surrogateescape")
