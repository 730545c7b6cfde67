"""`config`: the settings that are in effect, where each came from, and what is odd about the variables."""

import json
from collections.abc import Iterator
from typing import Any

from wal_e.cli.context import Context
from wal_e.cli.findings import exit_code, finding_lines, findings_document
from wal_e.cli.parser import all_options
from wal_e.cli.render import columns, write_out
from wal_e.config import HIDDEN, AnyOption, Settings, environment, without_secrets
from wal_e.config.rows import GLOBAL_OPTIONS, PREFIXES, archive_address, chosen_prefix
from wal_e.config.survey import survey
from wal_e.errors import StoreError, UsageError
from wal_e.finding import Finding, failed, failure, ok
from wal_e.store.registry import DRIVERS, driver_for
from wal_e.store.url import parse_url


def run(context: Context) -> int:
    """Shows the settings, or with --from-environment what is wrong with them; 1 where something is."""
    if context.arguments.from_environment:
        return _look_over(context)
    settings, unusable = completed(context.settings)
    shown = all_options() if context.arguments.all else used_options(settings)
    if context.arguments.json:
        write_out(json.dumps([_document(settings, option) for option in shown], indent=2) + "\n")
    else:
        rows = ((option.name, _value(settings, option), str(settings.source(option))) for option in shown)
        write_out("".join(f"{line}\n" for line in columns(("option", "value", "set_by"), rows)))
    if unusable is not None:
        raise unusable
    for option in shown:
        settings[option]
    return 0


def completed(settings: Settings) -> tuple[Settings, StoreError | None]:
    """The settings with what the chosen store's own files add (`~/.aws`); those alone, and why, where that fails."""
    scheme = _scheme(chosen_prefix(settings))
    try:
        return (settings if scheme is None else driver_for(scheme).complete(settings)), None
    except StoreError as error:
        return settings, error


def used_options(settings: Settings) -> tuple[AnyOption, ...]:
    """The options that count for the store that is in use: of the prefixes the one that counts, and its driver's."""
    chosen = chosen_prefix(settings)
    general = [option for option in GLOBAL_OPTIONS if option not in PREFIXES or option is chosen]
    scheme = _scheme(chosen)
    return (*general, *(option for driver in DRIVERS if driver.scheme == scheme for option in driver.options()))


def unused_options(settings: Settings) -> dict[str, tuple[AnyOption, ...]]:
    """The options of the stores that are not in use, by the store's name."""
    scheme = _scheme(chosen_prefix(settings))
    return {driver.label: driver.options() for driver in DRIVERS if driver.scheme != scheme}


def configuration(settings: Settings) -> Iterator[Finding]:
    """Yields what there is to say about the settings, their variables and the archive's address."""
    settings, unusable = completed(settings)
    if unusable is not None:
        yield failure("files", unusable)
    yield from survey(settings, environment(), used_options(settings), unused_options(settings))
    if chosen_prefix(settings) is not None:
        yield from _address(settings)


def _address(settings: Settings) -> Iterator[Finding]:
    chosen = chosen_prefix(settings)
    try:
        url = parse_url(archive_address(settings))
    except UsageError as error:
        yield failure("address", error)
        return
    if chosen is not None and url.scheme != _scheme(chosen):
        seen = f"{settings.source(chosen)} holds {url}, an address of another kind"
        yield failed("address", seen, f"Write it like {_scheme(chosen)}://..., or use the variable of the other store.")


def _scheme(prefix: AnyOption | None) -> str | None:
    """Each prefix is called after the scheme that its addresses have."""
    return None if prefix is None else prefix.name.removesuffix("-prefix")


def _look_over(context: Context) -> int:
    findings = list(configuration(context.settings)) or [ok("variables", "nothing is wrong with them")]
    if context.arguments.json:
        write_out(json.dumps(findings_document(findings, strict=True), indent=2) + "\n")
    else:
        write_out("".join(map(finding_lines, findings)))
    return exit_code(findings, strict=True)


def _value(settings: Settings, option: AnyOption) -> str:
    text = settings.text(option)
    if text is None:
        return option.default_text
    return HIDDEN if option.secret else without_secrets(text)


def _document(settings: Settings, option: AnyOption) -> dict[str, Any]:
    source = settings.source(option)
    return {
        "name": option.name,
        "value": _value(settings, option),
        "secret": option.secret,
        "origin": source.origin.name.lower(),
        "set_by": str(source),
    }
