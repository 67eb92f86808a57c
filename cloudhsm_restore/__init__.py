"""A typed client that restores AWS CloudHSM backups that are pending deletion, and whose reports are true."""

from typing import TYPE_CHECKING

from ._version import __version__

if TYPE_CHECKING:
    from .aio import AsyncRestoreClient
    from .client import RestoreClient
    from .exceptions import (
        AccessDeniedError,
        ApiError,
        AuthenticationError,
        ConfigurationError,
        ConnectError,
        ConnectionLostError,
        InternalFailureError,
        InvalidRequestError,
        NotRestorableError,
        ParameterError,
        ResourceNotFoundError,
        ResponseTimeoutError,
        RestoreError,
        ServiceError,
        TagError,
        ThrottlingError,
        TransportError,
        UnexpectedResponseError,
        WaitTimeoutError,
    )
    from .models import Backup, BackupState, Mode, RestoreResult, Tag

__all__ = [
    "AccessDeniedError", "ApiError", "AsyncRestoreClient", "AuthenticationError", "Backup", "BackupState",
    "ConfigurationError", "ConnectError", "ConnectionLostError", "InternalFailureError",
    "InvalidRequestError",
    "Mode", "NotRestorableError", "ParameterError", "ResourceNotFoundError", "ResponseTimeoutError",
    "RestoreClient", "RestoreError", "RestoreResult", "ServiceError", "Tag", "TagError", "ThrottlingError",
    "TransportError", "UnexpectedResponseError", "WaitTimeoutError", "__version__",
]  # fmt: skip

# Each name is imported when it is first used (PEP 562): `cloudhsm-restore --help` does not wait for pydantic,
# and an application without an event loop does not import asyncio. Names that are not here are exceptions.
_MODULES = {
    "AsyncRestoreClient": "aio",
    "Backup": "models",
    "BackupState": "models",
    "Mode": "models",
    "RestoreClient": "client",
    "RestoreResult": "models",
    "Tag": "models",
}


if not TYPE_CHECKING:  # A type checker would accept any name.

    def __getattr__(name: str) -> object:
        from importlib import import_module

        if name in ("aio", "client", "exceptions", "models"):
            return import_module(f".{name}", __name__)
        if name not in __all__:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        value = getattr(import_module(f".{_MODULES.get(name, 'exceptions')}", __name__), name)
        globals()[name] = value
        return value

    def __dir__() -> list[str]:
        return [*__all__, "aio", "client", "exceptions", "models"]
