"""``python -m cloudhsm_restore`` and the script ``cloudhsm-restore``: the command line, with its extra."""

import sys


def main() -> int:
    """Run the command line and return its exit status."""
    try:
        from importlib.util import find_spec

        if not all(find_spec(name) for name in ("click", "rich")):
            sys.stderr.write("The command line needs an extra: pip install 'cloudhsm-restore[cli]'\n")
            return 4
        from .cli import main as run

        return run()
    except KeyboardInterrupt:  # what is still being imported does not catch it
        sys.stderr.write("Interrupted.\n")
        return 130


if __name__ == "__main__":
    sys.exit(main())
