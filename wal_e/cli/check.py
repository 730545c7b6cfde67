"""`check`: everything that archiving needs, tried out, with what to do where it fails."""

import json
from collections.abc import Generator, Iterable, Iterator
from contextlib import ExitStack
from datetime import timedelta
from typing import Final

from wal_e.cli.context import Context
from wal_e.cli.findings import exit_code, finding_lines, findings_document, nagios
from wal_e.cli.render import write_out
from wal_e.cli.settings import configuration
from wal_e.config import environment
from wal_e.config.rows import STORE_TIMEOUT
from wal_e.errors import Corrupt, ServerError, StoreError, UsageError
from wal_e.finding import Finding, Verdict, failure, ok, skipped
from wal_e.maintain.checkup.arrival import try_arrival
from wal_e.maintain.checkup.network import look
from wal_e.maintain.checkup.server import archives, judge_archiver, judge_owner, judge_privileges, judge_server
from wal_e.maintain.checkup.store import probe
from wal_e.pg.server import Server, ServerFacts
from wal_e.repo.cluster import read_identity
from wal_e.store.api import Store
from wal_e.store.endpoint import Endpoint
from wal_e.store.policy import least_rights
from wal_e.store.registry import driver_for
from wal_e.store.url import parse_url

_PATIENCE: Final = timedelta(seconds=15)
"""How long a request is repeated: long enough for a hiccup, short enough for somebody who waits."""


def run(context: Context) -> int:
    """Tells each finding as it comes, and returns 1 where something failed."""
    arguments = context.arguments
    if arguments.policy:
        write_out(least_rights(parse_url(context.address), context.settings))
        return 0
    findings = []
    as_they_come = not (arguments.json or arguments.nagios)
    for finding in _findings(context):
        findings.append(finding)
        if as_they_come:
            write_out(finding_lines(finding))
    if arguments.nagios:
        code, line = nagios(findings)
        write_out(line)
        return code
    if arguments.json:
        write_out(json.dumps(findings_document(findings, strict=arguments.strict), indent=2) + "\n")
    return exit_code(findings, strict=arguments.strict)


def _findings(context: Context) -> Iterator[Finding]:
    arguments = context.arguments
    with ExitStack() as stack:
        store: Store | None = None
        if (
            not arguments.no_store
            and (yield from _passed(_oddities(context)))
            and (yield from _passed(_way_to_store(context)))
        ):
            store = stack.enter_context(context.store(min(_PATIENCE, context.settings[STORE_TIMEOUT])))
            yield from probe(store)
        if not arguments.no_postgres:
            yield from _server(context, store)


def _passed(findings: Iterable[Finding]) -> Generator[Finding, None, bool]:
    """Passes findings on, and returns whether none of them is a failure."""
    good = True
    for finding in findings:
        good = good and finding.verdict is not Verdict.FAILED
        yield finding
    return good


def _oddities(context: Context) -> Iterator[Finding]:
    return (finding for finding in configuration(context.settings) if finding.verdict is not Verdict.OK)


def _way_to_store(context: Context) -> Iterator[Finding]:
    """Network, login, and the container where it is to be created; ends with the first failure."""
    name = "address"
    try:
        url = parse_url(context.address)
        driver = driver_for(url.scheme)
        name = "credentials"
        endpoints = driver.endpoints(url, context.settings)
        if endpoints is not None:
            accepted = yield from _along(endpoints)
            if accepted is None:
                return
            if accepted:
                yield ok(name, "the service accepts them")
        name = "created"
        if context.arguments.create and driver.create_container(url, context.settings):
            yield ok(name, f"{url}")
    except (StoreError, UsageError) as error:
        yield failure(name, error)


def _along(endpoints: Generator[Endpoint, None, bool]) -> Generator[Finding, None, bool | None]:
    """Looks at each address, and returns whether the credentials are known to be good; None after a failure."""
    while True:
        try:
            endpoint = next(endpoints)
        except StopIteration as end:
            return bool(end.value)
        if not (yield from _passed(look(endpoint, environment()))):
            return None


def _server(context: Context, store: Store | None) -> Iterator[Finding]:
    try:
        with Server.connect() as server:
            facts = server.identify()
            yield from judge_server(facts)
            privileges = server.privileges()
            yield judge_privileges(facts, privileges)
            owner = _owner(store, facts) if store is not None else None
            if owner is not None:
                yield owner
            yield _arrival(context, server, facts, store)
            if archives(facts):
                yield judge_archiver(server.archiver())
    except ServerError as error:
        yield failure("postgresql", error)


def _owner(store: Store, facts: ServerFacts) -> Finding | None:
    """Whose archive it is; None where it cannot be read, which other findings tell."""
    try:
        return judge_owner(read_identity(store), facts)
    except Corrupt as error:
        return failure("cluster", error)
    except StoreError:
        return None


def _arrival(context: Context, server: Server, facts: ServerFacts, store: Store | None) -> Finding:
    if context.arguments.no_switch:
        return skipped("arrival", "as --no-switch says")
    if store is None:
        return skipped("arrival", "the store is not looked at, or cannot be")
    return try_arrival(server, store, facts, context.arguments.timeout, context.emit)
