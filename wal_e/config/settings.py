"""
Which value an option has, and who said so: flag, then envdir, environment, TOML file, default.

Values are parsed when they are asked for, so that a broken setting of a store that is not in use stops nobody.
"""

import difflib
import enum
import os
import re
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from wal_e.config.envdir import read_envdir
from wal_e.config.option import AnyOption, Option
from wal_e.errors import UsageError

T = TypeVar("T")
FILE_VARIABLE = "WALE_CONFIG"
TABLE = "wal-e"
HIDDEN = "***"
_LOGIN = re.compile(r"://[^/@\s]*@")
_QUERY = re.compile(r'(://[^\s"?]*)\?[^\s"]+')


class Origin(enum.IntEnum):
    """Who set an option, the strongest first."""

    FLAG = 1
    ENVDIR = 2
    ENVIRONMENT = 3
    FILE = 4
    PROFILE = 5
    """A service's own files, such as ~/.aws: see `Settings.filled`."""
    DEFAULT = 6


@dataclass(frozen=True, slots=True)
class Source:
    """Where a value came from; prints as people would say it."""

    origin: Origin
    place: str

    def __str__(self) -> str:
        return self.place


_DEFAULT = Source(Origin.DEFAULT, "the default")


@dataclass(frozen=True, slots=True, repr=False)
class Settings:
    """
    The texts of all options that were set, with their sources; never prints a secret.

    `file` is the TOML file that was read.
    """

    _set: Mapping[str, tuple[str, Source]]
    _options: Mapping[str, AnyOption]
    file: Path | None = None

    def __getitem__(self, option: Option[T]) -> T:
        """The option's value; raises `UsageError` that names the source where its text cannot be parsed."""
        found = self._set.get(option.name)
        if found is None:
            return option.default
        text, source = found
        try:
            return option.parse(text)
        except UsageError as error:
            # The parser's message quotes the text, which must not reach a log where it is a secret.
            said = without_secrets(error.message)
            detail = None if option.secret else f"{said[:1].upper()}{said[1:]}."
            raise UsageError(f"{source} cannot be used", detail=detail, hint=error.hint) from None

    def source(self, option: AnyOption) -> Source:
        """Who set the option; `Origin.DEFAULT` where nobody did."""
        found = self._set.get(option.name)
        return _DEFAULT if found is None else found[1]

    def text(self, option: AnyOption) -> str | None:
        """The option's text as it was set; None where nobody set it."""
        found = self._set.get(option.name)
        return None if found is None else found[0]

    def is_set(self, option: AnyOption) -> bool:
        """Whether anybody set the option."""
        return option.name in self._set

    def filled(self, more: Mapping[str, tuple[str, Source]]) -> "Settings":
        """Return the settings with texts, by option name, for those of these options that nobody set."""
        return Settings({**more, **self._set}, self._options, self.file)

    def __repr__(self) -> str:
        shown = (
            f"{name}={HIDDEN if self._options[name].secret else repr(without_secrets(text))} ({source})"
            for name, (text, source) in sorted(self._set.items())
        )
        return f"Settings({', '.join(shown)})"


def without_secrets(text: str) -> str:
    """Return the text, its addresses without a login and without a query, which may be a signature."""
    return _QUERY.sub(rf"\1?{HIDDEN}", _LOGIN.sub(f"://{HIDDEN}@", text))


def environment() -> dict[str, str]:
    """The variables of this process, with those of an envdir that was put among them."""
    return dict(os.environ)


def load(
    options: Iterable[AnyOption],
    flags: Mapping[str, str] | None = None,
    environ: Mapping[str, str] | None = None,
    envdir: Path | None = None,
    file: Path | None = None,
) -> Settings:
    """
    Collects the settings of these options.

    `flags` are texts by option name; `environ` is this process's environment unless given. Without `file` the
    variable WALE_CONFIG may name one. A variable that is set to nothing counts as not set. Raises `UsageError` for an
    unreadable envdir or file and for an unknown key in the file.
    """
    table = {option.name: option for option in options}
    changes = read_envdir(envdir) if envdir else {}
    variables = {**(os.environ if environ is None else environ), **changes}
    path = file or (Path(named) if (named := variables.get(FILE_VARIABLE)) else None)
    found = _read_file(path, table) if path else {}
    for option in table.values():
        name = next((name for name in option.variables if variables.get(name)), None)
        if name is not None:
            found[option.name] = (variables[name] or "", _variable_source(name, envdir if name in changes else None))
    for name, text in (flags or {}).items():
        found[name] = (text, Source(Origin.FLAG, f"--{name}"))
    return Settings(found, table, path)


def _variable_source(name: str, envdir: Path | None) -> Source:
    if envdir is None:
        return Source(Origin.ENVIRONMENT, f"the variable {name}")
    return Source(Origin.ENVDIR, f'the variable {name} of the envdir "{envdir}"')


def _read_file(path: Path, table: Mapping[str, AnyOption]) -> dict[str, tuple[str, Source]]:
    found: dict[str, tuple[str, Source]] = {}
    for key, value in _pairs(path):
        name = key.replace("_", "-")
        if name not in table:
            raise _unknown_key(path, key, table)
        if name in found:
            raise UsageError(f'"{name}" is set twice in "{path}"', hint="Remove one of the two lines.")
        if isinstance(value, bool):
            text = "true" if value else "false"
        elif isinstance(value, str | int | float):
            text = str(value)
        else:
            raise UsageError(f'"{key}" in "{path}" has to be a text, a number, true or false')
        found[name] = (text, Source(Origin.FILE, f'"{name}" in "{path}"'))
    return found


def _pairs(path: Path) -> list[tuple[str, object]]:
    """The keys at top level and those of the table `[wal-e]`, in this order."""
    try:
        document = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UsageError(
            f'the configuration file "{path}" cannot be read',
            detail=f"{error.strerror}.",
            hint=f"Check the path that --config or {FILE_VARIABLE} gives, and the file's permissions.",
        ) from error
    except ValueError as error:
        # UnicodeDecodeError and TOMLDecodeError; neither quotes a value, only a place.
        raise UsageError(
            f'the configuration file "{path}" is not TOML',
            detail=f"{error}.",
            hint='A line looks like: swift-prefix = "swift://container/path"',
        ) from error
    inner = document.pop(TABLE, {})
    if not isinstance(inner, dict):
        raise UsageError(f'"{TABLE}" in "{path}" has to be a table', hint=f"Write [{TABLE}] on a line of its own.")
    return [*document.items(), *inner.items()]


def _unknown_key(path: Path, key: str, table: Mapping[str, AnyOption]) -> UsageError:
    near = difflib.get_close_matches(key.replace("_", "-"), table, n=1)
    hint = f'Perhaps "{near[0]}" was meant.' if near else "docs/reference.md lists the options."
    return UsageError(f'the configuration file "{path}" sets the unknown option "{key}"', hint=hint)
