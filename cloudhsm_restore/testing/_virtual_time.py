"""Clients that wait in virtual time: a wait ends at once, and still counts toward ``timeout``."""

import threading

from ..client import RestoreClient


class VirtualTimeClient(RestoreClient):
    """A `RestoreClient` that does not sleep."""

    def _sleep(self, seconds: float, cancelled: threading.Event) -> None:
        """Return at once. The caller counts the wait itself."""
