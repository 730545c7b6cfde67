"""How a store is put together: the driver, and the wrappers that every driver shares, from the inside out."""

from collections.abc import Callable
from dataclasses import dataclass, field

from wal_e.config import Settings
from wal_e.events import Sink, silent
from wal_e.rate import RateLimit
from wal_e.stop import Stop
from wal_e.store.api import Store
from wal_e.store.flow import Flowing
from wal_e.store.limit import Limited
from wal_e.store.meter import Metered
from wal_e.store.prefix import EitherSpelling, Prefixed
from wal_e.store.registry import driver_for
from wal_e.store.retry import Clock, Retrying, RetryPolicy
from wal_e.store.url import ArchiveUrl, parse_url


def _unwrapped(store: Store) -> Store:
    return store


@dataclass(frozen=True, slots=True)
class StackOptions:
    """
    What callers may choose: `concurrency` in requests under way, patience, rates, and who hears of repeats.

    `upload` and `download` hold what is sent and fetched to a rate. Once `stop` is requested, what is under way
    ends with `Interrupted`.
    `wrap` stands directly around the driver; that is where fault tests put their faults.
    """

    concurrency: int = 16
    retry: RetryPolicy = field(default_factory=RetryPolicy)
    clock: Clock | None = None
    emit: Sink = silent
    upload: RateLimit | None = None
    download: RateLimit | None = None
    stop: Stop = field(default_factory=Stop)
    wrap: Callable[[Store], Store] = _unwrapped


@dataclass(frozen=True, slots=True)
class Stack:
    """An open archive: the store to use, and the meter that counts its requests."""

    store: Store
    meter: Metered


def build_stack(url_text: str, settings: Settings, options: StackOptions | None = None) -> Stack:
    """
    Return the store of the archive at an address, its keys relative to the archive, and its meter.

    Nothing is asked of the network yet. Raises `UsageError` for an address that is none, `Misconfigured` where
    settings are missing or contradict each other.
    """
    chosen = options or StackOptions()
    url = parse_url(url_text)
    driver = driver_for(url.scheme)
    meter = Metered(chosen.wrap(driver.open(url, settings, chosen.retry.deadline)))
    limited = Limited(meter, chosen.concurrency)
    flowing = Flowing(limited, upload=chosen.upload, download=chosen.download, stop=chosen.stop)
    clock = chosen.clock or Clock(wait=chosen.stop.wait)
    patient = Retrying(flowing, chosen.retry, clock=clock, emit=chosen.emit)
    return Stack(_below_path(patient, url, slash_trap=driver.slash_trap), meter)


def open_store(url_text: str, settings: Settings, options: StackOptions | None = None) -> Store:
    """Return the store alone; see `build_stack`."""
    return build_stack(url_text, settings, options).store


def _below_path(store: Store, url: ArchiveUrl, *, slash_trap: bool) -> Store:
    if slash_trap:
        return EitherSpelling(store, url.path)
    in_base = url.scheme == "file"  # that driver's base is the path
    return Prefixed(store, "" if in_base or not url.path else f"{url.path}/")
