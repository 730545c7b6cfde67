"""Where a driver connects to: what a look at the network needs to know before any request."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Endpoint:
    """
    An address (`https://host:port/...`) that a driver speaks to, and what it is for (`the identity service`).

    `verify` is how its certificate is judged: by a file of trusted authorities, by this system's (True), or not at all.
    `besides` is a file of authorities that are trusted, too.
    """

    what: str
    url: str
    verify: str | bool
    besides: str | None = None
