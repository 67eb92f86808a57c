"""``python -m cloudhsm_restore`` and the script ``cloudhsm-restore``: the command line, with its extra."""

import os
import signal
import sys
from io import TextIOWrapper
from typing import Any


def main() -> int:
    """Run the command line and return its exit status."""
    try:
        _handle_signals(signal.SIG_DFL, signal.default_int_handler)
        _prepare_streams()
        from importlib.util import find_spec

        if not all(find_spec(name) for name in ("click", "rich")):
            sys.stderr.write("The command line requires the cli extra: pip install 'cloudhsm-restore[cli]'\n")
            return 4
        from .cli import main as run

        status = run()
    except KeyboardInterrupt:  # while modules are imported
        sys.stderr.write("Interrupted.\n")
        return 130
    # Everything is reported: a signal while Python exits must not replace the status.
    _handle_signals(signal.default_int_handler, signal.SIG_IGN)
    return status


def _handle_signals(now: object, handler: Any) -> None:
    """Replace the handler of the signals that end a command, if it is this one.

    Ctrl-C, `docker stop`, and a closed terminal do the same. What the caller ignores stays ignored.
    """
    for name in ("SIGINT", "SIGTERM", "SIGHUP"):
        number = getattr(signal, name, None)  # Windows has no SIGHUP.
        if number is not None and signal.getsignal(number) is now:
            signal.signal(number, handler)


def _prepare_streams() -> None:
    """Make sure that the streams exist and accept any character: neither may end a restore halfway."""
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        stream: object = getattr(sys, name)
        if stream is None:
            # The caller closed it. A write to standard output fails then, as it must.
            flags = os.O_RDONLY if name == "stdout" else os.O_RDWR
            setattr(sys, name, os.fdopen(os.open(os.devnull, flags), mode, closefd=False))
        elif isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # Tags and IDs can contain anything.


if __name__ == "__main__":
    sys.exit(main())
