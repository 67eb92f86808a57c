"""What can go wrong between a client and the service: each fault by name, and what it does to an answer."""

import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from enum import StrEnum
from typing import Final

from ._wire import Answer


class Fault(StrEnum):
    """A fault that `LocalCloudHsm.inject` brings about. "The work" is what the request asks for."""

    CONNECTION_REFUSED = "connection-refused"
    """From now on nothing listens, until ``listen()``. A refused connection cannot be counted."""
    DROP_BEFORE_WORK = "drop-before-work"
    """The connection ends without an answer, and nothing was done."""
    DROP_AFTER_WORK = "drop-after-work"
    """The work is done, and the connection ends without an answer."""
    DROP_IN_BODY = "drop-in-body"
    """The work is done, and the connection ends in the middle of the answer."""
    DELAY = "delay"
    """The work is done, and the answer comes late, after ``seconds``."""
    THROTTLED = "throttled"
    """ThrottlingException; nothing was done."""
    INTERNAL_FAILURE_BEFORE_WORK = "internal-failure-before-work"
    """CloudHsmInternalFailureException, HTTP 500; nothing was done."""
    INTERNAL_FAILURE_AFTER_WORK = "internal-failure-after-work"
    """CloudHsmInternalFailureException, HTTP 500; the work is done all the same."""
    UNAVAILABLE_HTML = "unavailable-html"
    """HTTP 503 with HTML, as load balancers send it; nothing was done."""
    BAD_GATEWAY_HTML = "bad-gateway-html"
    """HTTP 502 with HTML, as load balancers send it; the work is done all the same."""
    ACCESS_DENIED = "access-denied"
    """CloudHsmAccessDeniedException; nothing was done."""
    EXPIRED_CREDENTIALS = "expired-credentials"
    """ExpiredTokenException; nothing was done."""
    MALFORMED_ERROR = "malformed-error"
    """HTTP 400 with an error code that is no text; nothing was done."""
    CAPTIVE_PORTAL = "captive-portal"
    """HTTP 200 with a log-in page; nothing was done."""
    OTHER_SERVICE = "other-service"
    """HTTP 200 with the JSON of another AWS service; nothing was done."""
    TRUNCATED_JSON = "truncated-json"
    """The work is done; HTTP 200 with half of the JSON."""
    EMPTY_BODY = "empty-body"
    """The work is done; HTTP 200 with an empty body."""
    EMPTY_OBJECT = "empty-object"
    """The work is done; HTTP 200 with ``{}``."""
    BAD_TIMESTAMP = "bad-timestamp"
    """The work is done; HTTP 200 with a creation time that is none."""
    NO_STATE = "no-state"
    """The work is done; HTTP 200 with a backup that has no state."""
    UNKNOWN_STATE = "unknown-state"
    """The work is done; HTTP 200 with a state that nobody knows."""
    OTHER_BACKUP = "other-backup"
    """The work is done; HTTP 200 with the answer about another backup."""
    WRONG_CONTENT_TYPE = "wrong-content-type"
    """The right answer, labelled ``text/html``."""
    STALE = "stale"
    """DescribeBackups shows each backup as it was before its last change."""
    DELETED_MEANWHILE = "deleted-meanwhile"
    """Just before the work, somebody else deletes the backup; it is PENDING_DELETION then."""
    PURGED_MEANWHILE = "purged-meanwhile"
    """Just before the work, the backup is deleted for good; it is DELETED then."""


_HTML = "text/html"
_GATEWAY_PAGE = b"<html><head><title>Bad gateway</title></head><body>The server is not well.</body></html>"
_INTERNAL = Answer.error("CloudHsmInternalFailureException", "An internal failure occurred.", 500)

INSTEAD: Final[Mapping[Fault, Answer | None]] = {
    Fault.DROP_BEFORE_WORK: None,
    Fault.THROTTLED: Answer.error("ThrottlingException", "Rate exceeded"),
    Fault.INTERNAL_FAILURE_BEFORE_WORK: _INTERNAL,
    Fault.UNAVAILABLE_HTML: Answer(503, _GATEWAY_PAGE, _HTML),
    Fault.ACCESS_DENIED: Answer.error("CloudHsmAccessDeniedException", "You are not allowed to do this."),
    Fault.EXPIRED_CREDENTIALS: Answer.error(
        "ExpiredTokenException", "The security token included in the request is expired"
    ),
    Fault.MALFORMED_ERROR: Answer.of({"__type": ["ThrottlingException"]}, 400),
    Fault.CAPTIVE_PORTAL: Answer(200, b"<html><body><form>Please log in.</form></body></html>", _HTML),
    Fault.OTHER_SERVICE: Answer.of({"TableNames": ["orders"]}),
}
"""Faults that keep the work from being done, and what is answered; None drops the connection."""


def _half(answer: Answer) -> Answer:
    return replace(answer, body=answer.body[: len(answer.body) // 2])


def _broken_off(answer: Answer) -> Answer:
    half = _half(answer)
    return replace(half, missing=len(answer.body) - len(half.body))


def _edited(**fields: object) -> Callable[[Answer], Answer]:
    def edit(answer: Answer) -> Answer:
        content = json.loads(answer.body)
        for backup in [content["Backup"]] if "Backup" in content else content.get("Backups", []):
            backup.update(fields)
        return Answer.of(content, answer.status)

    return edit


AFTERWARDS: Final[Mapping[Fault, Callable[[Answer], Answer | None]]] = {
    Fault.DROP_AFTER_WORK: lambda _: None,
    Fault.DROP_IN_BODY: _broken_off,
    Fault.INTERNAL_FAILURE_AFTER_WORK: lambda _: _INTERNAL,
    Fault.BAD_GATEWAY_HTML: lambda _: Answer(502, _GATEWAY_PAGE, _HTML),
    Fault.TRUNCATED_JSON: _half,
    Fault.EMPTY_BODY: lambda answer: replace(answer, body=b""),
    Fault.EMPTY_OBJECT: lambda _: Answer.of({}),
    Fault.BAD_TIMESTAMP: _edited(CreateTimestamp="the day before yesterday"),
    Fault.NO_STATE: _edited(BackupState=None),
    Fault.UNKNOWN_STATE: _edited(BackupState="RESTORE_IN_PROGRESS"),
    Fault.OTHER_BACKUP: _edited(BackupId="backup-7777777zzzz"),
    Fault.WRONG_CONTENT_TYPE: lambda answer: replace(answer, content_type=_HTML),
}
"""Faults that spoil the answer to work that is done."""
