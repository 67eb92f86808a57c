"""The handlers of botocore's events, by which a `Call` observes each attempt."""

from collections.abc import Callable
from functools import partial
from typing import Any

from ._call import Call, current_call
from ._version import __version__


def register_handlers(events: Any) -> None:
    """Register the handlers that observe what a client sends and receives, given its ``meta.events``."""
    # First, so that an event is observed before another handler ends or changes it. The exception is a
    # handler that is registered for a single operation: botocore calls it before these.
    # Not `before-call`, which also comes once for each call: botocore's Stubber ends it with its response.
    methods: dict[str, Callable[..., None]] = {
        "provide-client-params": Call.on_start,
        "before-send": Call.on_send,
        "before-parse": Call.on_raw_response,
        "response-received": Call.on_attempt,
    }
    for event, method in methods.items():
        handler = partial(_pass_to_call, method)
        events.register_first(f"{event}.cloudhsm-v2", handler, unique_id=f"cloudhsm-restore-{event}")


def _pass_to_call(method: Callable[..., None], **event: Any) -> None:
    if (call := current_call.get()) is not None:
        method(call, **event)


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
