"""Which backups: IDs that are given, or backups that the options select, in one region or in all."""

import json
import re
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from datetime import timedelta
from functools import partial
from queue import SimpleQueue
from typing import Any, Final, cast

from cloudhsm_restore import Backup, ParameterError, RestoreError
from cloudhsm_restore._redaction import printable
from cloudhsm_restore._validation import check_backup_id

from ._messages import cause_of, format_error, status_of
from ._settings import CommandError, Connection, Settings, Status

_HELD_FOR: Final = timedelta(days=7)  # AWS CloudHSM user guide, "Deleting and restoring backups"
# AWS returns these in a region that is not enabled in the account, because it has no credentials there.
_NOT_ENABLED: Final = ("UnrecognizedClientException", "InvalidClientTokenId", "AuthFailure", "OptInRequired")
_ARN: Final = re.compile(r"arn:[^:]+:cloudhsm:([^:]+):[^:]*:backup/(.*)")


# --- Backups that the options select ---


def find(settings: Settings, states: Sequence[str], connection: Connection) -> list[Backup]:
    """Return the backups that the options select, earliest deletion first."""
    described = connection.client.describe_backups(states=states, cluster_ids=settings.clusters)
    found = {backup.backup_id: backup for backup in described if _matches(settings, backup)}
    return sorted(found.values(), key=_by_urgency)


def _matches(settings: Settings, backup: Backup) -> bool:
    # The service reports when a backup will be permanently deleted, and not when it was deleted.
    deleted = backup.delete_timestamp and backup.delete_timestamp - _HELD_FOR
    after, before = settings.deleted_after, settings.deleted_before
    if (after and not (deleted and deleted >= after)) or (before and not (deleted and deleted <= before)):
        return False
    return set(settings.tags) <= {f"{key}={value}" for key, value in backup.tags.items()}


def _by_urgency(backup: Backup) -> tuple[bool, float]:
    if backup.delete_timestamp is not None:
        return False, backup.delete_timestamp.timestamp()
    return True, -backup.create_timestamp.timestamp() if backup.create_timestamp else 0.0


def find_in_all_regions(settings: Settings, states: Sequence[str]) -> tuple[list[Backup], list[Status]]:
    """Return what is found in every region, and the statuses of the regions that failed."""
    session, here = settings.session, settings.session.region_name
    partition = session.get_partition_for_region(here) if here else "aws"
    # Sessions are not thread-safe, so the clients are created here. The current region comes first: if all
    # regions have one endpoint, as with a local service, it is the one that is listed.
    regions = sorted(session.get_available_regions("cloudhsmv2", partition), key=lambda each: each != here)
    by_endpoint = {each.endpoint: each for each in reversed([settings.connect(region) for region in regions])}
    settings.connections = list(by_endpoint.values())
    found: list[Backup] = []
    failed: dict[str, RestoreError] = {}
    call = partial(find, settings, states)
    for connection, result in concurrently(call, settings.connections, len(regions)):
        if isinstance(result, RestoreError):
            failed[str(connection.region)] = result
        else:
            found += result
    if len(failed) == len(settings.connections):
        raise next(iter(failed.values()))  # no region is different, so this is not about regions
    for region, error in failed.items():
        disabled = cause_of(error) in _NOT_ENABLED
        text = f"not enabled in this account ({cause_of(error)})." if disabled else format_error(error)
        settings.echo_stderr(f"{region}: {text}", "yellow")
    statuses = [status_of(error) for error in failed.values() if cause_of(error) not in _NOT_ENABLED]
    return sorted(found, key=_by_urgency), statuses


def echo_nothing_found(settings: Settings, states: Sequence[str]) -> None:
    """Say what was not found, and what else to try."""
    what = f" in state {' or '.join(states)}" if states else ""
    matching = " that match the filters" if settings.filtered else ""
    hint = " Also try list --all or list --all-regions." if states and not settings.all_regions else ""
    where = f"in {settings.target()}. Check the account and region."
    settings.echo_stderr(f"No backups found{what}{matching} {where}{hint}")


def concurrently(call: Callable[[Any], Any], items: Sequence[Any], workers: int) -> list[tuple[Any, Any]]:
    """Call a function for each item, in threads, and return the results or the library's errors."""
    waiting = iter(items)
    results: SimpleQueue[tuple[Any, Any]] = SimpleQueue()

    def work() -> None:
        for item in waiting:
            try:
                results.put((item, call(item)))
            except BaseException as error:  # noqa: BLE001  (raised below, in the main thread)
                results.put((item, error))

    for _ in items[:workers]:
        # Daemons, so that Ctrl-C does not wait for a region that does not respond.
        threading.Thread(target=work, daemon=True).start()
    by_item = dict(results.get() for _ in items)
    for result in by_item.values():
        if isinstance(result, BaseException) and not isinstance(result, RestoreError):
            raise result
    return [(item, by_item[item]) for item in items]


# --- IDs that are given ---


def parse_id(text: str, where: str) -> tuple[str, str | None]:
    """Return the ID, and the region if the text is an ARN. An invalid ID ends the command."""
    arn = _ARN.fullmatch(text)
    region, backup_id = arn.groups() if arn else (None, text)
    try:
        check_backup_id(backup_id, "RestoreBackup")
        wrong = "it has characters that no ID has" if re.search(r"[^\w-]", backup_id) else ""
        if backup_id.startswith("cluster-"):
            command = f"restore --all-pending --cluster {backup_id}"
            wrong = f"it is the ID of a cluster, whose backups `{command}` restores"
    except ParameterError as error:
        wrong = str(error.args[0])
    if wrong:
        quoted = f" ({printable(text)[:60]!r})" if text.strip() else ""
        message = f"{where}{quoted} is not a valid backup ID: {wrong}. No request was sent."
        raise CommandError(printable(message), Status.USAGE)
    return backup_id, region


def parse_local_id(settings: Settings, text: str, where: str) -> str:
    """Return the ID; an ARN of another region ends the command."""
    backup_id, region = parse_id(text, where)
    if region is not None and region != settings.session.region_name:
        message = f"{text} is in another region. Pass --region {region}. No request was sent."
        raise CommandError(printable(message), Status.USAGE)
    return backup_id


def read_ids() -> Iterator[tuple[str, str | None]]:
    """Yield the IDs on standard input, and their regions if they are known.

    Standard input is one ID per line, JSON, or JSON Lines as ``list`` and ``restore`` write them.
    """
    data = sys.stdin.buffer.read()
    # PowerShell writes UTF-16, and editors write byte order marks. `json` recognizes both in any text.
    text = data.decode(json.detect_encoding(data), errors="backslashreplace")
    for place, item in _items(text):
        fields: dict[str, Any] = {"backup_id": item}
        if isinstance(item, dict):
            fields = cast("dict[str, Any]", item)
        backup_id, where = fields.get("backup_id"), f"{place} of standard input"
        if not isinstance(backup_id, str):
            what = "neither a backup ID nor JSON with a backup_id, such as `list --output json` writes"
            raise CommandError(f"{where} is {what}. No request was sent.", Status.USAGE)
        backup_id, region = parse_id(backup_id, where)
        arn = _ARN.fullmatch(str(fields.get("backup_arn")))
        yield backup_id, region or fields.get("region") or (arn and arn[1])


def _items(text: str) -> Iterator[tuple[str, object]]:
    """Yield what the text contains, and where: the items of one JSON text, or the lines."""
    try:
        whole: object = json.loads(text)
    except ValueError:
        for number, line in enumerate(map(str.strip, text.splitlines()), start=1):
            if not (item := line if line.startswith(("{", "[")) else re.sub(r"(^|\s+)#.*", "", line)):
                continue
            try:
                yield f"Line {number}", json.loads(item)
            except ValueError:
                yield f"Line {number}", item
    else:
        several = cast("list[object]", whole) if isinstance(whole, list) else [whole]
        yield from ((f"Item {number}", each) for number, each in enumerate(several, start=1))
