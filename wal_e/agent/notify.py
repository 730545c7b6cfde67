"""What systemd wants to hear of a service: ready, alive, stopping. sd_notify(3) is the protocol: one datagram each."""

import socket
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

READY: Final = "READY=1"
ALIVE: Final = "WATCHDOG=1"
STOPPING: Final = "STOPPING=1"
_MICROSECONDS: Final = 1_000_000
_PATIENCE: Final = 1.0  # seconds for a manager whose queue is full: READY and STOPPING are said once only


@dataclass(frozen=True, slots=True)
class Notifier:
    """
    Where the service manager listens, None where there is none.

    `watchdog` is how many seconds may pass between two signs of life, None where nobody waits for them.
    """

    address: str | None
    watchdog: float | None

    @classmethod
    def of(cls, environ: Mapping[str, str], pid: int) -> "Notifier":
        """What the variables of a service say; a watchdog that is meant for another process is not ours."""
        address = environ.get("NOTIFY_SOCKET") or None
        interval = environ.get("WATCHDOG_USEC", "")
        ours = address and interval.isdigit() and environ.get("WATCHDOG_PID", str(pid)) == str(pid)
        return cls(address, int(interval) / _MICROSECONDS if ours and int(interval) else None)

    def tell(self, state: str) -> None:
        """Sends one state; a manager that does not listen is no error."""
        if self.address is None:
            return
        address = "\0" + self.address[1:] if self.address.startswith("@") else self.address
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
                sender.settimeout(_PATIENCE)
                sender.sendto(state.encode(), address)
        except OSError:
            return
