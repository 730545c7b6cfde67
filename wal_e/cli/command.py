"""What a command and an argument are: the rows of the tables that the parser and the reference are made from."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from wal_e.config import AnyOption, Option, parse_count


@dataclass(frozen=True, slots=True)
class Argument:
    """
    One argument of a command, positional where its name has no dash.

    Arguments of one `group` exclude each other. `parse` raises `UsageError`; a `switch` takes no value, and
    what is `many` may be given several times. An `option`
    stands in where the command line does not say, and `default` where that says nothing either.
    """

    names: tuple[str, ...]
    help: str
    parse: Callable[[str], Any] = str
    default: Any = None
    metavar: str | None = None
    switch: bool = False
    optional: bool = False
    many: bool = False
    group: str | None = None
    option: AnyOption | None = None

    @property
    def positional(self) -> bool:
        """Whether it is known by its place."""
        return not self.names[0].startswith("-")

    @property
    def attribute(self) -> str:
        """Where argparse puts its value."""
        return self.names[-1].lstrip("-").replace("-", "_")


@dataclass(frozen=True, slots=True)
class Command:
    """
    One command; `run` names the module and function that do it, imported when it is called.

    `loud` commands announce themselves in the log; those that PostgreSQL calls for every segment do not. Those with
    `events` write them as JSON where `--json` is given.
    """

    name: str
    help: str
    run: str
    arguments: tuple[Argument, ...] = ()
    children: tuple["Command", ...] = ()
    loud: bool = True
    events: bool = False


def pool_size(default: int, help_text: str, option: Option[int | None] | None = None) -> Argument:
    """The original's `--pool-size`."""
    return Argument(("-p", "--pool-size"), help_text, parse_count(1, 256), default, "NUMBER", option=option)
