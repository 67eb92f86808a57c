"""boto3 clients for tests, isolated from the environment.

The session reads no environment variable, no profile, and no file in the home directory. So no variable,
profile, or proxy of the machine changes what a test sees, and nothing calls the instance metadata service.
"""

import os
import threading
from functools import cache
from typing import TYPE_CHECKING, Any

from ._responses import REGION

if TYPE_CHECKING:
    import boto3
    from botocore.config import Config
    from botocore.loaders import Loader
    from mypy_boto3_cloudhsmv2 import CloudHSMV2Client

ACCESS_KEY_ID, SECRET_ACCESS_KEY = "AKIAIOSFODNN7EXAMPLE", "for-tests-only"

_creating = threading.Lock()


@cache
def load_models() -> "Loader":
    """Return botocore's loader for the service models that botocore ships with."""
    from botocore.loaders import Loader

    # Without the default paths, because ~/.aws/models is one of them, and AWS_DATA_PATH can name others.
    return Loader([Loader.BUILTIN_DATA_PATH], include_default_search_paths=False)


@cache
def _session(region_name: str, backoff: bool) -> "boto3.Session":
    # Cached, because the first client of a session takes ten times as long as the next.
    import boto3
    from botocore.session import Session

    # botocore looks up a setting in its environment variable, then in the profile, then takes its default.
    # Without the names of the first two only the default is left, also for settings that are added later.
    variables = {
        name: (None, None, default, convert)
        for name, (_, _, default, convert) in Session.SESSION_VARIABLES.items()
    }
    nowhere = (None, None, os.devnull, None)
    events: Any = None
    if not backoff:
        from ._no_backoff import NoBackoffEmitter

        events = NoBackoffEmitter()
    session = Session(variables | {"config_file": nowhere, "credentials_file": nowhere}, events)
    session.register_component("data_loader", load_models())
    return boto3.Session(ACCESS_KEY_ID, SECRET_ACCESS_KEY, region_name=region_name, botocore_session=session)


def make_boto3_client(
    endpoint_url: str | None,
    region_name: str = REGION,
    config: "Config | None" = None,
    *,
    backoff: bool = True,
) -> "CloudHSMV2Client":
    """Create an isolated boto3 client.

    Settings in ``config`` override the defaults for tests. Without ``backoff`` it retries at once.
    """
    import boto3
    from botocore.config import Config

    defaults = Config(
        connect_timeout=5,
        read_timeout=5,
        proxies={},  # None would mean those of the environment
        user_agent=f"Boto3/{boto3.__version__} cloudhsm-restore-testing",  # the default has AWS_EXECUTION_ENV
    )
    with _creating:  # sessions are not thread-safe
        client: CloudHSMV2Client = _session(region_name, backoff).client(
            "cloudhsmv2",
            # botocore looks up AWS_ENDPOINT_URL on a separate path, and only if no endpoint is given.
            endpoint_url=endpoint_url or f"https://cloudhsmv2.{region_name}.amazonaws.com",
            verify=True,  # None would mean REQUESTS_CA_BUNDLE
            config=defaults.merge(config) if config else defaults,
        )
    client.meta.events.register_last("before-call", _drop_trace_id)
    return client


def _drop_trace_id(params: dict[str, Any], **_: object) -> None:
    # botocore adds this header within AWS Lambda (AWS_LAMBDA_FUNCTION_NAME and _X_AMZN_TRACE_ID).
    params["headers"].pop("X-Amzn-Trace-Id", None)
