"""What is shown while a command works: its progress, why it waits, and with --verbose each attempt."""

import logging
import os
import shutil
import sys
import threading
import time
from collections.abc import Mapping
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any, Final

from cloudhsm_restore._redaction import PATTERNS_ONLY, printable

from ._settings import Settings

_EVERY: Final = 30.0  # seconds between two lines, if no bar can be drawn


class ProgressDisplay(threading.Thread):
    """A thread that shows the progress of a restore: a bar, or a line from time to time."""

    def __init__(self, settings: Settings, total: int) -> None:
        super().__init__(daemon=True)
        self._settings = settings
        self._total = total
        self._done = self._failed = 0
        self._began = time.monotonic()
        self._waits: dict[str, tuple[float, float, str]] = {}  # until when, when it gives up, and why
        self._stopping = False
        self._closed = threading.Event()
        # Lines of data, or of a log, would be written into the bar.
        shared = settings.verbose or (settings.format == "jsonl" and sys.stdout.isatty())
        self._has_bar = sys.stderr.isatty() and os.environ.get("TERM") != "dumb" and not shared

    def close(self) -> None:
        """Remove the bar. Can be called more than once."""
        self._closed.set()
        self.join()

    def add_wait(self, backup_id: str, record: Mapping[str, Any]) -> None:
        """Show that a backup waits before its next attempt, as the library logged it."""
        seconds, left = record["cloudhsm_wait_seconds"], record["cloudhsm_time_left"]
        now = time.monotonic()
        self._waits[backup_id] = now + seconds, now + left, str(record["cloudhsm_wait_cause"])

    def advance(self, backup_id: str, *, failed: bool) -> None:
        """Show that one more backup is done."""
        self._waits.pop(backup_id, None)
        self._done += 1
        self._failed += failed

    def show_stopping(self) -> None:
        """Show that nothing new is sent. Called from a signal handler."""
        self._stopping = True
        if not self._has_bar:
            # Not through `sys.stderr`: the main thread may be in the middle of a write to it.
            with suppress(OSError):
                os.write(2, f"{self._cause()}\n".encode())

    def _cause(self) -> str:
        """Return why nothing happens at the moment, or nothing."""
        if self._stopping:
            return "Stopping (press Ctrl-C again to stop immediately)"
        now = time.monotonic()
        waits = [wait for wait in self._waits.copy().values() if wait[0] > now]
        if not waits:
            return ""
        until, end, cause = min(waits)
        left = max(0, int(end - now))
        return f"{cause}, next attempt in {until - now:.0f} s, gives up in {left // 60}:{left % 60:02}"

    def run(self) -> None:
        """Draw until the display is closed."""
        while not self._closed.wait(0.2 if self._has_bar else _EVERY):
            cause = self._cause()
            counts = f"{self._done}/{self._total}" + (f", {self._failed} failed" if self._failed else "")
            if self._has_bar:
                self._write(self._bar(f" {counts}; {cause}" if cause else f" {counts}"))
            elif cause:
                self._settings.echo_stderr(f"{counts} done; {cause}")
        if self._has_bar:
            self._write("")

    def _bar(self, text: str) -> str:
        width = shutil.get_terminal_size().columns - 1
        room = min(40, width - len(text) - len("Restoring []"))
        filled = self._done * room // (self._total or 1)
        bar = f"Restoring [{'#' * filled:<{room}}]" if room > 0 else ""
        return f"{bar}{text}"[:width]

    def _write(self, text: str) -> None:
        with suppress(OSError):
            sys.stderr.write(f"\r\x1b[K{text}")
            sys.stderr.flush()


class Verbose(logging.Handler):
    """Prints each attempt of the clients of a session, and what the library logs."""

    def __init__(self, settings: Settings, events: Any) -> None:
        super().__init__(logging.INFO)
        self._settings = settings
        logging.getLogger("cloudhsm_restore").addHandler(self)
        logging.getLogger("cloudhsm_restore").setLevel(logging.INFO)
        # Both are emitted for each attempt.
        events.register("request-created.cloudhsm-v2", self._log_request)
        events.register("response-received.cloudhsm-v2", self._log_response)

    def emit(self, record: logging.LogRecord) -> None:
        """Print one line, with the time in UTC."""
        self._print(record.getMessage())

    def _print(self, text: str) -> None:
        text = printable(PATTERNS_ONLY.text(text))
        self._settings.echo_stderr(f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ} {text}")

    def _log_request(self, request: Any, operation_name: str, **_: object) -> None:
        # The body has IDs and filters; credentials are in the headers.
        self._print(f"{operation_name} {request.data.decode()}")

    def _log_response(self, event_name: str, **event: Any) -> None:
        parsed: dict[str, Any] = event["parsed_response"] or {}
        response, error = event["response_dict"], event["exception"]
        request_id = parsed.get("ResponseMetadata", {}).get("RequestId")
        parts = (
            f"HTTP {response['status_code']}" if response else "",
            str(parsed.get("Error", {}).get("Code", "")),
            type(error).__name__ if error else "",  # not its text, which can contain the endpoint's password
            f"request ID {request_id}" if request_id else "",
        )
        self._print(f"{event_name.rpartition('.')[2]}: {', '.join(filter(None, parts))}")
