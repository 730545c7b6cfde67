"""docs/reference.md, from the same tables that the command line is made of: `python -m wal_e.cli.reference`."""

from collections.abc import Iterable, Iterator

from wal_e.cli import main
from wal_e.cli.command import Argument, Command
from wal_e.cli.commands import COMMANDS
from wal_e.cli.parser import all_options, argument_help
from wal_e.cli.render import write_out
from wal_e.config import AnyOption
from wal_e.config.settings import TABLE

_HEAD = f"""\
# Reference

This page is written by `python -m wal_e.cli.reference` (`make docs`) from the tables that the program itself uses.

    wal-e [OPTION]... COMMAND [ARGUMENT]...

Options stand before the command or after it. Of several places that set one option the first of these counts:

1. its flag;
2. the file of its variable in the directory that `--envdir DIR` names, read as `envdir` of daemontools reads it;
3. its variable in the environment; of several variables the first in the table, and an empty one is not set;
4. its name in the TOML file that `--config FILE` or `WALE_CONFIG` names, at top level or in `[{TABLE}]`;
5. its default.

Of several prefixes one that is set by a flag counts before one of a variable, and that before one of the file; among
equals the order is file, gs, s3, swift, wabs. The variables of libpq (`PGHOST` and its kin) may stand in an envdir too.

Durations are numbers of seconds, or have a unit: `90s`, `15min`, `1h`, `2d`.
"""


def reference() -> str:
    """The whole page."""
    parts = [_HEAD, "## Commands\n", *_sections(COMMANDS), "## Options\n"]
    groups: dict[str, list[AnyOption]] = {}
    for option in all_options():
        groups.setdefault(option.group, []).append(option)
    parts += (_group(name, options) for name, options in groups.items())
    parts += ["## Exit codes\n", _exit_codes()]
    return "\n".join(parts)


def _sections(commands: Iterable[Command], title: str = "", before: str = "wal-e") -> Iterator[str]:
    for command in commands:
        name = f"{title} {command.name}".strip()
        usage = " ".join([before, command.name, *(_usage(argument) for argument in command.arguments)])
        yield _command(name, usage, command)
        yield from _sections(command.children, name, usage)


def _usage(argument: Argument) -> str:
    if argument.positional:
        return f"[{argument.names[0]}]" if argument.optional else argument.names[0]
    value = "" if argument.switch else f" {argument.metavar}"
    return f"[{argument.names[0]}{value}]"


def _command(name: str, usage: str, command: Command) -> str:
    rows = [
        (
            ", ".join(f"`{name}`" for name in argument.names) + (f" {argument.metavar}" if argument.metavar else ""),
            argument_help(argument),
        )
        for argument in command.arguments
    ]
    more = " WHAT" if command.children else ""
    text = f"### {name}\n\n    {usage}{more}\n\n{command.help[:1].upper()}{command.help[1:]}.\n"
    return text + ("\n" + _table(("argument", "meaning"), rows) if rows else "")


def _group(name: str, options: Iterable[AnyOption]) -> str:
    rows = [
        (
            f"`{option.name}`",
            _flag(option),
            ", ".join(f"`{variable}`" for variable in option.variables),
            option.default_text,
            option.help,
        )
        for option in options
    ]
    title = f"{name[:1].upper()}{name[1:]}"
    return f"### {title}\n\n" + _table(("name", "flag", "variables", "default", "meaning"), rows)


def _flag(option: AnyOption) -> str:
    if not option.has_flag:
        return "none: a secret" if option.secret else "none"
    short = f"`-{option.short}`, " if option.short else ""
    return f"{short}`--{option.name}{'' if option.switch else f' {option.metavar}'}`"


def _table(head: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    lines = [
        _line(head),
        _line("---" for _ in head),
        *(_line(cell.replace("|", "\\|") for cell in row) for row in rows),
    ]
    return "\n".join(lines) + "\n"


def _line(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _exit_codes() -> str:
    """The table in the docstring of `main`, which is where they are decided."""
    documented = (main.__doc__ or "").partition("\n\n")[2]
    return documented.strip() + "\n"


if __name__ == "__main__":
    write_out(reference())
