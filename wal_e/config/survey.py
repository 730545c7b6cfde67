"""
A look over the variables: unknown ones, ones that contradict each other, ones without effect. Asks nobody.

Names in a family of ours must be known. Other families (`OS_`, `AWS_` and so on) serve many programs: there only what
nearly is a name of ours is worth a word.
"""

import difflib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Final

from wal_e.config.foreign import FOREIGN, OWN, Fate, Foreign
from wal_e.config.option import AnyOption
from wal_e.config.rows import ENCRYPTION, FOREIGN_KEY, PREFIXES, chosen_prefix, refuse_plain_text
from wal_e.config.settings import Settings
from wal_e.errors import UsageError
from wal_e.finding import Finding, failed, failure, ok, warning

_OURS: Final = ("WALE_", "WALG_", "SWIFT_", "WABS_")
_SHARED: Final = ("OS_", "ST_", "AWS_", "GS_", "GCS_", "S3_", "GOOGLE_", "AZURE_")
_LIKE: Final = 0.6
_NEARLY: Final = 0.88
"""Of difflib's ratio: OS_AUTHURL is 0.95 like OS_AUTH_URL, OS_VOLUME_API_VERSION 0.77 like OS_IDENTITY_API_VERSION."""


def survey(
    settings: Settings,
    variables: Mapping[str, str],
    used: Sequence[AnyOption],
    unused: Mapping[str, Sequence[AnyOption]],
) -> Iterator[Finding]:
    """
    Yields what there is to say about settings and the variables they came from; nothing where all is well.

    `used` are the options that count, `unused` those of the stores that are not in use, by the store's name.
    """
    meant = (*used, *(option for option in PREFIXES if option not in used))
    yield from _values(settings, used)
    yield from _prefixes(settings)
    yield from _contradictions(meant, variables)
    yield from _without_effect(variables)
    yield from _unknown((*meant, *(option for options in unused.values() for option in options)), variables)
    if chosen_prefix(settings) is not None:
        yield from _elsewhere(used, unused, variables)


def _values(settings: Settings, used: Iterable[AnyOption]) -> Iterator[Finding]:
    for option in used:
        if option in ENCRYPTION:
            continue
        try:
            settings[option]
        except UsageError as error:
            yield failure(option.name, error)
    try:
        refuse_plain_text(settings)
    except UsageError as error:
        yield failure("encryption", error)


def _prefixes(settings: Settings) -> Iterator[Finding]:
    chosen = chosen_prefix(settings)
    if chosen is None:
        yield failed(
            "prefix", "no storage prefix is set", "Set WALE_SWIFT_PREFIX, WALE_FILE_PREFIX or that of another store."
        )
        return
    losers = [str(settings.source(option)) for option in PREFIXES if settings.is_set(option) and option is not chosen]
    if losers:
        yield warning(
            "prefix",
            f"several stores are chosen: {settings.source(chosen)} counts, and not {' or '.join(losers)}",
            "Keep one of them.",
        )


def _contradictions(options: Iterable[AnyOption], variables: Mapping[str, str]) -> Iterator[Finding]:
    for option in options:
        # These are different keys, not names of one.
        names = [] if option is FOREIGN_KEY else [name for name in option.variables if variables.get(name)]
        for name in names[1:]:
            if _meant(option, variables[name]) != _meant(option, variables[names[0]]):
                yield warning(
                    name, f"it says something else than {names[0]}, which counts", f"Unset {name}, or {names[0]}."
                )


def _meant(option: AnyOption, text: str) -> object:
    try:
        return option.parse(text)
    except UsageError:
        return text


def _without_effect(variables: Mapping[str, str]) -> Iterator[Finding]:
    for foreign in FOREIGN:
        for name in foreign.names:
            if variables.get(name):
                yield _explained(name, foreign)


def _explained(name: str, foreign: Foreign) -> Finding:
    if foreign.fate is Fate.NEEDLESS:
        return ok(name, f"not needed: {foreign.why}")
    return warning(name, f"without effect: {foreign.why}", f"Unset {name} if you can do without.")


def _unknown(options: Iterable[AnyOption], variables: Mapping[str, str]) -> Iterator[Finding]:
    known = [name for option in options for name in option.variables]
    known += [*OWN, *(name for foreign in FOREIGN for name in foreign.names)]
    for name in sorted(set(variables) - set(known)):
        upper = name.upper()
        ours = upper.startswith(_OURS)
        if not ours and not upper.startswith(_SHARED):
            continue
        near = difflib.get_close_matches(upper, known, n=1, cutoff=_LIKE if ours else _NEARLY)
        hint = f"Perhaps {near[0]} was meant." if near else "docs/reference.md lists the variables."
        if ours:
            yield warning(name, "there is no such variable", hint)
        elif near:
            yield warning(name, "it looks like a variable of WAL-E's, and is none", hint)


def _elsewhere(
    used: Iterable[AnyOption], unused: Mapping[str, Sequence[AnyOption]], variables: Mapping[str, str]
) -> Iterator[Finding]:
    needed = {name for option in used for name in option.variables}
    telling = {name for name, value in variables.items() if value and name.startswith(_OURS + _SHARED)} - needed
    for store, options in unused.items():
        names = [name for option in options for name in option.variables if name in telling]
        if names:
            yield warning(
                store,
                f"variables are set for a store that is not in use: {', '.join(names)}",
                "Unset them, unless they are another program's, or the prefix should name that store.",
            )
