"""A typed client that gets back AWS CloudHSM backups that are pending deletion, and whose answer is true."""

from typing import TYPE_CHECKING

from ._version import __version__

if TYPE_CHECKING:
    from ._procedure import RestoreResult
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
    from .models import Backup, BackupState, Mode, Tag

__all__ = [
    "AccessDeniedError",
    "ApiError",
    "AuthenticationError",
    "Backup",
    "BackupState",
    "ConfigurationError",
    "ConnectError",
    "ConnectionLostError",
    "InternalFailureError",
    "InvalidRequestError",
    "Mode",
    "NotRestorableError",
    "ParameterError",
    "ResourceNotFoundError",
    "ResponseTimeoutError",
    "RestoreClient",
    "RestoreError",
    "RestoreResult",
    "ServiceError",
    "Tag",
    "TagError",
    "ThrottlingError",
    "TransportError",
    "UnexpectedResponseError",
    "WaitTimeoutError",
    "__version__",
]

# Each name is imported when it is first asked for (PEP 562), so that `cloudhsm-restore --help` need not wait
# for pydantic. What is not in this table is an exception.
_MODULES = {
    "Backup": "models",
    "BackupState": "models",
    "Mode": "models",
    "RestoreClient": "client",
    "RestoreResult": "_procedure",
    "Tag": "models",
}


if not TYPE_CHECKING:  # or a type checker would take any name for one that exists

    def __getattr__(name: str) -> object:
        from importlib import import_module

        if name in ("client", "exceptions", "models"):
            return import_module(f".{name}", __name__)
        if name not in __all__:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        value = getattr(import_module(f".{_MODULES.get(name, 'exceptions')}", __name__), name)
        globals()[name] = value
        return value

    def __dir__() -> list[str]:
        return [*__all__, "client", "exceptions", "models"]
