"""A boto3 session's events, with which no client waits between its attempts.

A module of its own, because botocore.hooks imports more of botocore than this package otherwise needs.
"""

from typing import Any

from botocore.hooks import HierarchicalEmitter


class NoBackoffEmitter(HierarchicalEmitter):
    """Emits events as usual, but turns each delay before a retry into none.

    A handler of ``needs-retry`` returns the seconds that botocore sleeps before the next attempt, or None or
    False to give up. The handlers still decide about each retry, so the requests are the same as with delays.
    """

    def emit(self, event_name: str, **kwargs: Any) -> Any:
        responses: list[tuple[Any, Any]] = super().emit(event_name, **kwargs)
        if event_name.startswith("needs-retry."):
            return [(handler, 0 if type(delay) in (int, float) else delay) for handler, delay in responses]
        return responses
