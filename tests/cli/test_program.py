"""The program itself: start-up, completion, the demo, and a missing extra."""

import shlex
import signal
import socket
import subprocess
import sys
from contextlib import closing, suppress
from pathlib import Path

import pytest

from cloudhsm_restore import BackupState
from cloudhsm_restore._validation import DEFAULT_MAX_WORKERS, DEFAULT_TIMEOUT

from ..terminal import CLI, Terminal, environment, run
from .helpers import ESCAPE, records

_IMPORTED = """
import sys
{run}
sys.stderr.write("\\n".join(sorted({{name.partition(".")[0] for name in sys.modules}})))
"""


def imported(code: str, env: dict[str, str]) -> set[str]:
    """Return the modules that are imported at the end of the program."""
    return set(run(_IMPORTED.format(run=code), env=env, python=(sys.executable, "-c")).err.split())


def completing(words: str) -> dict[str, str]:
    """Return the variables with which bash requests completions."""
    count = len(words.split(" ")) - 1
    return {
        "_CLOUDHSM_RESTORE_COMPLETE": "bash_complete",
        "COMP_WORDS": words,
        "COMP_CWORD": str(count),
    }


@pytest.mark.parametrize(
    ("arguments", "more"),
    [
        (["--help"], {}),
        (["restore", "--help"], {}),
        (["--version"], {}),
        ([], completing("x restore --")),
        ([], completing("x list --state ")),
    ],
)
def test_light_commands_import_little(tmp_path: Path, arguments: list[str], more: dict[str, str]) -> None:
    """Help, version and completion import neither boto3, botocore and pydantic nor rich."""
    env = environment(tmp_path, **more)
    code = f"""
sys.argv = ["cloudhsm-restore", *{arguments!r}]
from cloudhsm_restore.__main__ import main
try:
    main()
except SystemExit:
    pass
"""
    heavy = {"boto3", "rich", "botocore", "pydantic", "s3transfer", "markdown_it", "pygments", "unittest"}
    assert not imported(code, env) & heavy


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_script(tmp_path: Path, shell: str) -> None:
    """There is a completion script for each shell."""
    script = run("completion", shell, env=environment(tmp_path)).out
    assert "_CLOUDHSM_RESTORE_COMPLETE" in script
    if shell == "bash":
        assert run("-n", env=environment(tmp_path), stdin=script, python=("bash",)).status == 0


def test_completion(tmp_path: Path) -> None:
    """Options, states and profiles are completed."""
    config = tmp_path / ".aws/config"
    config.parent.mkdir()
    config.write_text("[profile prod]\n[profile dev]\nregion = us-east-1\n")

    def completions(words: str) -> set[str]:
        ran = run(env=environment(tmp_path, **completing(words)))
        assert ran.err == ""
        return {line.partition(",")[2] for line in ran.out.splitlines()} - {""}

    assert completions("x restore --all") == {"--all-pending"}
    # The option ignores case, and what is completed is in lower case for some versions of click.
    assert {each.upper() for each in completions("x list --state ")} == set(BackupState)
    assert {each.upper() for each in completions("x list --state pend")} == {"PENDING_DELETION"}
    assert completions("x list --profile ") == {"dev", "prod"}
    assert completions("x --profile p") == {"prod"}
    config.write_text("[profile")
    assert completions("x --profile ") == set()


def test_defaults_in_the_help(tmp_path: Path) -> None:
    """The defaults that the help states are those of the library."""
    text = " ".join(run("restore", "--help", env=environment(tmp_path)).out.split())
    assert f"[default: {DEFAULT_MAX_WORKERS}]" in text
    assert f"[default: {DEFAULT_TIMEOUT / 60:.0f}m]" in text


def test_short_options(tmp_path: Path) -> None:
    """The options that are typed most have short forms."""
    env = environment(tmp_path)
    assert run("-V", env=env).out == run("--version", env=env).out != ""
    text = run("restore", "-h", env=env).out
    for option in ("-y, --yes", "-o, --output", "-v, --verbose", "-h, --help"):
        assert option in text


def test_interrupt_while_starting(tmp_path: Path) -> None:
    """A signal while the command line is imported is status 130 and no traceback."""
    code = """
import os, signal, sys

class Interrupt:
    def find_spec(self, name, path, target=None):
        if name == "click.core":
            os.kill(os.getpid(), signal.SIGTERM)

sys.meta_path.insert(0, Interrupt())
from cloudhsm_restore.__main__ import main
sys.exit(main())
"""
    ran = run(code, env=environment(tmp_path), python=(sys.executable, "-c"))
    assert (ran.status, ran.out, ran.err) == (130, "", "Interrupted.\n")


def test_without_the_extra(tmp_path: Path) -> None:
    """Without click or rich there is one line, which says what to install."""
    code = (
        "import sys; sys.modules['rich'] = None; from cloudhsm_restore.__main__ import main; sys.exit(main())"
    )
    ran = run(code, env=environment(tmp_path), python=(sys.executable, "-c"))
    assert (ran.status, ran.out) == (4, "")
    assert ran.err == "The command line requires the cli extra: pip install 'cloudhsm-restore[cli]'\n"


def test_demo_in_a_pipe(tmp_path: Path) -> None:
    """The demo needs nothing around it, shows Python's own results, and ends with what to do next."""
    ran = run("demo", env=environment(tmp_path))
    assert (ran.status, ran.err) == (0, "")
    assert ran.out.startswith("Everything here runs on this machine. No AWS account is touched.\n")
    assert ESCAPE not in ran.out
    assert max(map(len, ran.out.splitlines())) <= 90
    text = " ".join(ran.out.split())
    for part in (
        "backup_state=<BackupState.READY: 'READY'>",
        "('backup-a2b3c4d5e6f', '6 days, 23:59:5",
        "InvalidRequestError: RestoreBackup backup-a2b3c4d5e6f: CloudHsmInvalidRequestException: ",
        "ResourceNotFoundError: RestoreBackup backup-7777777zzzz: ",
        "botocore.errorfactory.CloudHsmInvalidRequestException: An error occurred",
        "boto3 retried, and reported a successful restore as a failure.",
        ">>> client.ensure_restored(\"backup-a2b3c4d5e6f\").backup_state <BackupState.READY: 'READY'>",
        "called DescribeBackups, and reported the real state. What to do next cloudhsm-restore serve ",
        "cloudhsm-restore list --help",
    ):
        assert part in text
    assert text.count("'PENDING_DELETION'") == 3
    assert text.count("Error: ") == 2


def test_demo_on_a_terminal(tmp_path: Path) -> None:
    """On a terminal of 80 columns the demo fits, in colors, except for the code to copy."""
    with Terminal("demo", env=environment(tmp_path)) as terminal:
        assert terminal.end() == 0
    lines = [line for line in terminal.text.splitlines() if not line.startswith(">>> ")]
    assert max(map(len, lines)) <= 80
    assert f"{ESCAPE}[31mcloudhsm_restore.exceptions.InvalidRequestError" in terminal.raw


@pytest.mark.parametrize("ended_by", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_serve(tmp_path: Path, ended_by: signal.Signals) -> None:
    """serve prints one line for other tools, which this command can use too, until a signal ends it."""
    with subprocess.Popen(
        [*CLI, "serve", "--port", "0", "--pending", "2", "--region", "eu-west-1"],
        env=environment(tmp_path),
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as served:
        assert served.stdout is not None
        script = f"{served.stdout.readline()} {shlex.join(CLI)} restore --all-pending --yes"
        if ended_by is signal.SIGINT:
            assert len(records(run("-c", script, env=environment(tmp_path), python=("bash",)).out)) == 2
        served.send_signal(ended_by)
        assert served.wait(20) == 0


def test_port_that_is_taken(tmp_path: Path) -> None:
    """A chosen port that is taken is status 4; the default port is replaced by a free one."""
    with closing(socket.socket()) as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        ran = run("serve", "--port", str(port), env=environment(tmp_path))
    assert (ran.status, ran.err.startswith(f"Error: Cannot listen on 127.0.0.1:{port}: ")) == (4, True)
    with closing(socket.socket()) as taken:
        with suppress(OSError):  # another program may have the default port
            taken.bind(("127.0.0.1", 4566))
            taken.listen()
        command = [*CLI, "serve"]
        with subprocess.Popen(
            command, env=environment(tmp_path), stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
        ) as served:
            assert served.stdout is not None
            line = served.stdout.readline()
            served.terminate()
    assert "AWS_ENDPOINT_URL_CLOUDHSM_V2=http://127.0.0.1:" in line
    assert "127.0.0.1:4566" not in line
