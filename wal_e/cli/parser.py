"""The command line: argparse, built from the tables of options and commands."""

import argparse
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any, Final, NoReturn

from wal_e import __version__
from wal_e.cli.command import Argument, Command
from wal_e.cli.commands import COMMANDS
from wal_e.config import AnyOption, Settings
from wal_e.config.rows import EXCLUSIVE, GLOBAL_OPTIONS
from wal_e.errors import UsageError
from wal_e.store.registry import DRIVERS

PROG: Final = "wal-e"
_FLAG: Final = "option "
_EPILOG: Final = (
    "The options stand before the command or after it, and can be set by variables and a TOML file as well; "
    "secrets only so. docs/reference.md lists everything."
)


class CommandLineError(Exception):
    """The command line does not parse; the text is usage and error, ready to be shown."""


class _Parser(argparse.ArgumentParser):
    """argparse that leaves exiting to main, and takes no abbreviations, for these change with every new option."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(allow_abbrev=False, **settings)

    def error(self, message: str) -> NoReturn:
        raise CommandLineError(f"{self.format_usage()}{self.prog}: error: {message}")


@dataclass(frozen=True, slots=True)
class Parsed:
    """
    What a command line says: the command (None where it names none), its arguments, and flags by option name.

    `envdir` and `config` are the paths of --envdir and --config.
    """

    command: Command | None
    arguments: argparse.Namespace
    flags: dict[str, str]
    envdir: Path | None
    config: Path | None


def all_options() -> tuple[AnyOption, ...]:
    """The whole option table: ours, and those of every driver."""
    return (*GLOBAL_OPTIONS, *(option for driver in DRIVERS for option in driver.options()))


def parse(argv: Sequence[str], options: Iterable[AnyOption]) -> Parsed:
    """Parses a command line; raises `CommandLineError`. `--help` and `--version` print and raise `SystemExit`."""
    return parse_with(build_parser(options), argv)


def parse_with(parser: argparse.ArgumentParser, argv: Sequence[str]) -> Parsed:
    """As `parse`, with a parser that was built before."""
    found = vars(parser.parse_args(argv))
    flags = {name.removeprefix(_FLAG): text for name, text in found.items() if name.startswith(_FLAG)}
    for one, other in EXCLUSIVE:
        if one in flags and other in flags:
            parser.error(f"argument --{one}: not allowed with argument --{other}")
    arguments = argparse.Namespace(**{name: value for name, value in found.items() if not name.startswith(_FLAG)})
    return Parsed(found.get("command"), arguments, flags, found.get("envdir"), found.get("config"))


def settle(arguments: argparse.Namespace, command: Command, settings: Settings) -> None:
    """
    Gives a command's arguments that the command line left open the value of their option, or else their default.

    Raises `UsageError` where the option's value cannot be used.
    """
    for argument in command.arguments:
        if argument.option is not None and getattr(arguments, argument.attribute) is None:
            value = settings[argument.option]
            setattr(arguments, argument.attribute, argument.default if value is None else value)


def build_parser(options: Iterable[AnyOption]) -> argparse.ArgumentParser:
    """The parser of everything; global options are accepted before the command and after it."""
    table = tuple(options)
    parser = _Parser(
        prog=PROG,
        usage=f"{PROG} [OPTION]... COMMAND [ARGUMENT]...",
        description="Continuous archiving for PostgreSQL: base backups and WAL into an object store, and back.",
        epilog=_EPILOG,
        parents=[_global_parser(table, hidden=False)],
    )
    parser.add_argument("--version", action="version", version=__version__, help="print the version and exit")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", prog=PROG)
    hidden = _global_parser(table, hidden=True)
    for command in COMMANDS:
        _add_command(commands, command, hidden)
    return parser


def _add_command(commands: Any, command: Command, hidden: argparse.ArgumentParser, parent: str = "") -> None:
    """`commands` is argparse's collection of subparsers, whose type is private; `parent` the command above."""
    parser = commands.add_parser(
        command.name,
        help=command.help,
        description=f"{command.help[:1].upper()}{command.help[1:]}.",
        parents=[hidden],
        epilog=f"More options: {PROG} --help.",
    )
    groups: dict[str, Any] = {}
    for argument in command.arguments:
        if argument.group is not None and argument.group not in groups:
            groups[argument.group] = parser.add_mutually_exclusive_group()
        _add_argument(groups.get(argument.group or "", parser), argument)
    if command.children:
        children = parser.add_subparsers(title="what to do", metavar="WHAT", required=True, dest="WHAT")
        for child in command.children:
            _add_command(children, child, hidden, parent=command.name)
    else:
        parser.set_defaults(command=command, subcommand=parent or command.name)


def _add_argument(container: Any, argument: Argument) -> None:
    """`container` is a parser or one of argparse's groups."""
    settings: dict[str, Any] = {"help": argument_help(argument).replace("%", "%%")}
    if argument.switch:
        settings["action"] = "store_true"
    else:
        default = None if argument.option else argument.default
        settings |= {"type": _type(argument.parse), "metavar": argument.metavar, "default": default}
    if argument.optional:
        settings["nargs"] = "?"
    if argument.many:
        settings["action"] = "append"
    container.add_argument(*argument.names, **settings)


def argument_help(argument: Argument) -> str:
    """An argument's help with its default, and the variables that stand in for it."""
    variables = f" [{', '.join(argument.option.variables)}]" if argument.option else ""
    default = "" if argument.default is None else f" (default: {_plain(argument.default)})"
    return f"{argument.help}{default}{variables}"


def _plain(value: object) -> str:
    return f"{value.total_seconds():g}s" if isinstance(value, timedelta) else str(value)


def _type(parse_text: Callable[[str], Any]) -> Callable[[str], Any]:
    def convert(text: str) -> Any:
        try:
            return parse_text(text)
        except UsageError as error:
            hint = f". {error.hint}" if error.hint else ""
            raise argparse.ArgumentTypeError(f"{error.message}{hint}") from error

    return convert


def _global_parser(options: Sequence[AnyOption], *, hidden: bool) -> argparse.ArgumentParser:
    parser = _Parser(add_help=False)
    sources = parser.add_argument_group("configuration")
    for name, metavar, text in (
        ("--envdir", "DIR", "read variables from a directory, as envdir of daemontools does"),
        ("--config", "FILE", "read options from a TOML file [WALE_CONFIG]"),
    ):
        sources.add_argument(
            name, type=Path, metavar=metavar, default=argparse.SUPPRESS, help=argparse.SUPPRESS if hidden else text
        )
    groups: dict[str, Any] = {}
    for option in options:
        if option.has_flag:
            if option.group not in groups:
                groups[option.group] = parser.add_argument_group(option.group)
            _add_option(groups[option.group], option, hidden=hidden)
    return parser


def _add_option(group: Any, option: AnyOption, *, hidden: bool) -> None:
    """`group` is one of argparse's groups."""
    names = [f"--{option.name}"]
    if option.short:
        names.insert(0, f"-{option.short}")
    # Whoever is not given leaves no trace, so that a subparser does not undo what stood before the command.
    settings: dict[str, Any] = {"dest": f"{_FLAG}{option.name}", "default": argparse.SUPPRESS}
    settings["help"] = argparse.SUPPRESS if hidden else option_help(option).replace("%", "%%")
    if option.switch:
        settings |= {"action": "store_const", "const": "true"}
    else:
        settings["metavar"] = option.metavar
    group.add_argument(*names, **settings)


def option_help(option: AnyOption) -> str:
    """An option's help with its variables and default."""
    variables = f" [{', '.join(option.variables)}]" if option.variables else ""
    default = f" (default: {option.default_text})" if option.default_text and not option.switch else ""
    return f"{option.help}{default}{variables}"
