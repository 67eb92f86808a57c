"""Environment variables that send AWS clients to the local service, whatever variables there are already."""

import os
from pathlib import Path
from typing import Final

from ._boto3 import ACCESS_KEY_ID, SECRET_ACCESS_KEY

_LOOPBACK: Final = "127.0.0.1,localhost"
_PROFILE: Final = ("AWS_PROFILE", "AWS_DEFAULT_PROFILE", "AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE")
_CONFIG_FILE: Final = str(Path(__file__).with_name("aws_config.ini"))
_IN_PLACE_OF_OTHERS: Final = {
    # A token that does not belong to the access key. botocore and the SDKs take an empty one for none.
    "AWS_SESSION_TOKEN": "",
    "AWS_SECURITY_TOKEN": "",
    "AWS_CREDENTIAL_EXPIRATION": "",
    # Both are errors together with an endpoint of one's own.
    "AWS_USE_FIPS_ENDPOINT": "false",
    "AWS_USE_DUALSTACK_ENDPOINT": "false",
}


def environ_for(endpoint_url: str, region_name: str) -> dict[str, str]:
    """Return the variables for a service, with as few of them as this process's environment allows."""
    variables = {
        "AWS_ENDPOINT_URL_CLOUDHSM_V2": endpoint_url,
        "AWS_IGNORE_CONFIGURED_ENDPOINT_URLS": "false",
        "AWS_REGION": region_name,
        "AWS_DEFAULT_REGION": region_name,
        "AWS_ACCESS_KEY_ID": ACCESS_KEY_ID,
        "AWS_SECRET_ACCESS_KEY": SECRET_ACCESS_KEY,
        # Python and curl prefer the lowercase name, other programs know only one of the two.
        "NO_PROXY": _without_proxy("NO_PROXY", "no_proxy"),
        "no_proxy": _without_proxy("no_proxy", "NO_PROXY"),
    }
    if any(name in os.environ for name in _PROFILE):
        # A profile cannot be switched off by a value: botocore requires even one with an empty name to exist.
        variables |= dict.fromkeys(_PROFILE[:2], "default") | dict.fromkeys(_PROFILE[2:], _CONFIG_FILE)
    return variables | {name: value for name, value in _IN_PLACE_OF_OTHERS.items() if name in os.environ}


def _without_proxy(name: str, fallback: str) -> str:
    hosts = os.environ.get(name, os.environ.get(fallback, ""))
    if hosts.strip() == "*":  # which means every host, and only if it stands alone
        return hosts
    present = [host.strip() for host in hosts.split(",") if host.strip()]
    return ",".join([*present, *(host for host in _LOOPBACK.split(",") if host not in present)])
