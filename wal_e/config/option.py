"""One row of the option table, and the parsers that rows share."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

from wal_e.errors import UsageError

T_co = TypeVar("T_co", covariant=True)

_YES = frozenset({"1", "true", "yes", "on"})
_NO = frozenset({"0", "false", "no", "off"})


@dataclass(frozen=True, slots=True)
class Option(Generic[T_co]):
    """
    What there is to know about one option.

    `name` is the key of the TOML file and, with two dashes before it, the flag. Of `variables` the first that is set
    and not empty counts. `parse` reads the text of every source, raising `UsageError`. A secret has no flag, because
    every user of the machine can read a command line. A `switch` is a flag without a value. `short` is a letter.
    `shown` is how the default is written in help and reference, where it is not plain from the value.
    """

    name: str
    variables: tuple[str, ...]
    help: str
    default: T_co
    parse: Callable[[str], T_co]
    secret: bool = False
    flag: bool = True
    metavar: str = "VALUE"
    group: str = "general"
    short: str | None = None
    switch: bool = False
    shown: str | None = None

    @property
    def has_flag(self) -> bool:
        """Whether the command line may set it."""
        return self.flag and not self.secret

    @property
    def default_text(self) -> str:
        """The default as help and reference write it; empty where there is none."""
        if self.shown is not None:
            return self.shown
        if isinstance(self.default, bool):
            return "on" if self.default else "off"
        return "" if self.default is None else str(self.default)


AnyOption = Option[object]


def parse_text(text: str) -> str:
    """Takes the text as it is."""
    return text


def parse_bool(text: str) -> bool:
    """Reads true, yes, on, 1 and false, no, off, 0 in any case."""
    word = text.strip().lower()
    if word in _YES or word in _NO:
        return word in _YES
    raise UsageError(f'"{text}" is neither true nor false', hint="Write true, false, 1 or 0.")


def parse_count(least: int, most: int | None = None) -> Callable[[str], int]:
    """Makes a parser of whole numbers from `least` to `most`, both included."""
    span = f"of at least {least}" if most is None else f"from {least} to {most}"

    def parse(text: str) -> int:
        try:
            number = int(text)
        except ValueError:
            number = None
        if number is None or number < least or (most is not None and number > most):
            raise UsageError(f'"{text}" is not usable as a number here', hint=f"Write a whole number {span}.")
        return number

    return parse


def parse_choice(*choices: str) -> Callable[[str], str]:
    """Makes a parser that accepts these words in any case and gives them back as they are written here."""
    by_folded = {choice.casefold(): choice for choice in choices}

    def parse(text: str) -> str:
        choice = by_folded.get(text.strip().casefold())
        if choice is None:
            raise UsageError(f'"{text}" is not one of the choices', hint=f"Write one of {', '.join(choices)}.")
        return choice

    return parse
