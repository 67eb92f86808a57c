"""The handlers of botocore's events, by which a `Call` observes each attempt."""

from collections.abc import Mapping
from typing import Any

from ._call import current_call
from ._version import __version__


def register_handlers(events: Any) -> None:
    """Register the handlers that observe what a client sends and receives, given its ``meta.events``."""
    # First, so that an event is observed before another handler ends or changes it. The exception is a
    # handler that is registered for a single operation: botocore calls it before these.
    # Not `before-call`, which also comes once for each call: botocore's Stubber ends it with its response.
    for event, handler in {
        "provide-client-params": _on_start,
        "request-created": _on_create,
        "before-send": _on_send,
        "before-parse": _on_raw_response,
        "response-received": _on_attempt,
    }.items():
        events.register_first(f"{event}.cloudhsm-v2", handler, unique_id=f"cloudhsm-restore-{event}")
    # Without the name of the service, because botocore calls such handlers after all that have one.
    events.register_last("before-send", _on_sending, unique_id="cloudhsm-restore-sending")


def _on_start(**_: object) -> None:
    if (call := current_call.get()) is not None:
        call.observed = True


def _on_create(**_: object) -> None:
    if (call := current_call.get()) is not None:
        call.on_create()


def _on_send(request: object, **_: object) -> None:
    if (call := current_call.get()) is not None:
        call.on_send(request)


def _on_sending(**_: object) -> None:
    if (call := current_call.get()) is not None:
        call.on_sending()


def _on_raw_response(response_dict: Mapping[str, Any], **_: object) -> None:
    if (call := current_call.get()) is not None:
        call.on_raw_response(response_dict)


def _on_attempt(parsed_response: object, exception: Exception | None, **_: object) -> None:
    if (call := current_call.get()) is not None:
        call.on_attempt(parsed_response, exception)


def add_user_agent(events: Any) -> None:
    """Add this library's name to the user agent of all that a client sends, so that CloudTrail shows it."""
    # Not with a Config, which is the user's: given any Config, boto3 drops the timeouts of AWS_DEFAULTS_MODE.
    # And last, because botocore itself writes the header late.
    events.register_last(
        "request-created.cloudhsm-v2", _on_request_created, unique_id="cloudhsm-restore-name"
    )


def _on_request_created(request: Any, **_: object) -> None:
    agent = request.headers.get("User-Agent") or ""
    del request.headers["User-Agent"]
    request.headers["User-Agent"] = f"{agent} cloudhsm-restore/{__version__}".strip()
