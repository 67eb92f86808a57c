"""The faults between a client and the service: their names, and their effect on a response."""

import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from enum import StrEnum
from typing import Final

from ._wire import Response


class Fault(StrEnum):
    """A fault to inject with `LocalCloudHsm.inject`.

    BEFORE_WORK and AFTER_WORK mean before and after the operation takes effect.
    """

    CONNECTION_REFUSED = "connection-refused"
    """Stop listening until ``listen()`` is called. Refused connections are not counted."""
    DROP_BEFORE_WORK = "drop-before-work"
    """The connection closes without a response, and the operation has no effect."""
    DROP_AFTER_WORK = "drop-after-work"
    """The operation takes effect, and the connection closes without a response."""
    DROP_IN_BODY = "drop-in-body"
    """The operation takes effect, and the connection closes in the middle of the response body."""
    DELAY = "delay"
    """The operation takes effect, and the response is late by ``seconds``."""
    THROTTLED = "throttled"
    """ThrottlingException. The operation has no effect."""
    INTERNAL_FAILURE_BEFORE_WORK = "internal-failure-before-work"
    """CloudHsmInternalFailureException, HTTP 500. The operation has no effect."""
    INTERNAL_FAILURE_AFTER_WORK = "internal-failure-after-work"
    """CloudHsmInternalFailureException, HTTP 500, although the operation takes effect."""
    UNAVAILABLE_HTML = "unavailable-html"
    """HTTP 503 with HTML, as load balancers send it. The operation has no effect."""
    BAD_GATEWAY_HTML = "bad-gateway-html"
    """HTTP 502 with HTML, as load balancers send it, although the operation takes effect."""
    FORBIDDEN_HTML = "forbidden-html"
    """HTTP 403 with HTML, as firewalls send it. The operation has no effect."""
    REQUEST_TIMEOUT_EMPTY = "request-timeout-empty"
    """HTTP 408 with an empty body, as proxies send it, although the operation takes effect."""
    REDIRECT_BEFORE_WORK = "redirect-before-work"
    """HTTP 307 with a Location on the same service. The operation has no effect."""
    REDIRECT_AFTER_WORK = "redirect-after-work"
    """HTTP 307 with a Location on the same service, although the operation takes effect."""
    REDIRECT_WITHOUT_LOCATION = "redirect-without-location"
    """HTTP 302 with HTML and without a Location, although the operation takes effect."""
    ACCESS_DENIED = "access-denied"
    """CloudHsmAccessDeniedException. The operation has no effect."""
    EXPIRED_CREDENTIALS = "expired-credentials"
    """ExpiredTokenException. The operation has no effect."""
    MALFORMED_ERROR = "malformed-error"
    """HTTP 400 with an error code that is not a string. The operation has no effect."""
    CAPTIVE_PORTAL = "captive-portal"
    """HTTP 200 with a login page. The operation has no effect."""
    OTHER_SERVICE = "other-service"
    """HTTP 200 with the JSON of another AWS service. The operation has no effect."""
    TRUNCATED_JSON = "truncated-json"
    """The operation takes effect. HTTP 200 with half of the JSON."""
    EMPTY_BODY = "empty-body"
    """The operation takes effect. HTTP 200 with an empty body."""
    EMPTY_OBJECT = "empty-object"
    """The operation takes effect. HTTP 200 with ``{}``."""
    BAD_TIMESTAMP = "bad-timestamp"
    """The operation takes effect. HTTP 200 with an invalid creation time."""
    NO_STATE = "no-state"
    """The operation takes effect. HTTP 200 with a backup that has no state."""
    UNKNOWN_STATE = "unknown-state"
    """The operation takes effect. HTTP 200 with an unknown state."""
    OTHER_BACKUP = "other-backup"
    """The operation takes effect. HTTP 200 with a response about another backup."""
    WRONG_CONTENT_TYPE = "wrong-content-type"
    """The correct response, labeled ``text/html``."""
    INTERIM_RESPONSE = "interim-response"
    """HTTP 103, and then the correct response, when the client sends or closes, at the latest after 0.1 s."""
    DUPLICATE_RESPONSE = "duplicate-response"
    """The correct response, twice."""
    CLOSE_AFTER_RESPONSE = "close-after-response"
    """The correct response, and the kept-alive connection closes without an announcement."""
    CLOSE_ON_NEXT_REQUEST = "close-on-next-request"
    """The correct response, and the kept-alive connection closes when its next request arrives.

    That request is not read, has no effect, and is not counted."""
    STALE = "stale"
    """DescribeBackups returns each backup as it was before its last change."""
    DELETED_MEANWHILE = "deleted-meanwhile"
    """Just before the operation, another user deletes the backup. It is then PENDING_DELETION."""
    PURGED_MEANWHILE = "purged-meanwhile"
    """Just before the operation, the backup is permanently deleted. It is then DELETED."""


# Load balancers, firewalls, and captive portals send HTML, and never AWS's JSON.
_HTML = "text/html"
_GATEWAY_PAGE = b"<html><head><title>Bad gateway</title></head><body>The server is not well.</body></html>"
_FIREWALL_PAGE = b"<html><head><title>Forbidden</title></head><body>This request was blocked.</body></html>"
_MOVED_PAGE = b"<html><head><title>Found</title></head><body>It has moved.</body></html>"
# The service carries out operations at any path.
_REDIRECT = Response(307, b"", _HTML, location="/redirected")
_INTERNAL = Response.error("CloudHsmInternalFailureException", "An internal failure occurred.", 500)

BEFORE_WORK: Final[Mapping[Fault, Response | None]] = {
    Fault.DROP_BEFORE_WORK: None,
    Fault.THROTTLED: Response.error("ThrottlingException", "Rate exceeded"),
    Fault.INTERNAL_FAILURE_BEFORE_WORK: _INTERNAL,
    Fault.UNAVAILABLE_HTML: Response(503, _GATEWAY_PAGE, _HTML),
    Fault.FORBIDDEN_HTML: Response(403, _FIREWALL_PAGE, _HTML),
    Fault.REDIRECT_BEFORE_WORK: _REDIRECT,
    Fault.ACCESS_DENIED: Response.error("CloudHsmAccessDeniedException", "You are not allowed to do this."),
    Fault.EXPIRED_CREDENTIALS: Response.error(
        "ExpiredTokenException", "The security token included in the request is expired"
    ),
    Fault.MALFORMED_ERROR: Response.of({"__type": ["ThrottlingException"]}, 400),
    Fault.CAPTIVE_PORTAL: Response(200, b"<html><body><form>Please log in.</form></body></html>", _HTML),
    Fault.OTHER_SERVICE: Response.of({"TableNames": ["orders"]}),
}
"""Faults that replace the operation, and the response to send. None closes the connection instead."""


def _half(response: Response) -> Response:
    return replace(response, body=response.body[: len(response.body) // 2])


def _cut_off(response: Response) -> Response:
    half = _half(response)
    return replace(half, missing_bytes=len(response.body) - len(half.body))


def _edited(**fields: object) -> Callable[[Response], Response]:
    def edit(response: Response) -> Response:
        content = json.loads(response.body)
        # Most operations respond with a Backup, DescribeBackups with Backups, and an error with neither.
        for backup in [content["Backup"]] if "Backup" in content else content.get("Backups", []):
            backup.update(fields)
        return Response.of(content, response.status)

    return edit


AFTER_WORK: Final[Mapping[Fault, Callable[[Response], Response | None]]] = {
    Fault.DROP_AFTER_WORK: lambda _: None,
    Fault.DROP_IN_BODY: _cut_off,
    Fault.INTERNAL_FAILURE_AFTER_WORK: lambda _: _INTERNAL,
    Fault.BAD_GATEWAY_HTML: lambda _: Response(502, _GATEWAY_PAGE, _HTML),
    Fault.REQUEST_TIMEOUT_EMPTY: lambda _: Response(408, b"", _HTML),
    Fault.REDIRECT_AFTER_WORK: lambda _: _REDIRECT,
    Fault.REDIRECT_WITHOUT_LOCATION: lambda _: Response(302, _MOVED_PAGE, _HTML),
    Fault.TRUNCATED_JSON: _half,
    Fault.EMPTY_BODY: lambda response: replace(response, body=b""),
    Fault.EMPTY_OBJECT: lambda _: Response.of({}),
    Fault.BAD_TIMESTAMP: _edited(CreateTimestamp="the day before yesterday"),
    Fault.NO_STATE: _edited(BackupState=None),
    Fault.UNKNOWN_STATE: _edited(BackupState="RESTORE_IN_PROGRESS"),
    Fault.OTHER_BACKUP: _edited(BackupId="backup-7777777zzzz"),
    Fault.WRONG_CONTENT_TYPE: lambda response: replace(response, content_type=_HTML),
    Fault.INTERIM_RESPONSE: lambda response: replace(response, hints_first=True),
    Fault.DUPLICATE_RESPONSE: lambda response: replace(response, copies=2),
    Fault.CLOSE_AFTER_RESPONSE: lambda response: replace(response, drop="at once"),
    Fault.CLOSE_ON_NEXT_REQUEST: lambda response: replace(response, drop="with the next request"),
}
"""Faults that change the response after the operation took effect."""
