"""docs/reference.md says what the program does."""

from pathlib import Path

from wal_e.cli.commands import COMMANDS
from wal_e.cli.parser import all_options
from wal_e.cli.reference import reference


def test_the_reference_is_current() -> None:
    page = Path(__file__).parents[2] / "docs" / "reference.md"
    assert page.read_text(encoding="utf-8") == reference(), "run make docs"


def test_every_option_and_argument_has_help_and_its_own_name() -> None:
    options = all_options()
    assert len({option.name for option in options}) == len(options)
    variables = [variable for option in options for variable in option.variables]
    assert len(set(variables)) == len(variables)
    for option in options:
        assert option.help
        assert not option.help.endswith(".")
    for command in COMMANDS:
        assert command.help
        assert all(argument.help for argument in command.arguments)
