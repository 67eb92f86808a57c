"""`RestoreStubber` and `AsyncRestoreStubber`: clients whose responses are queued beforehand."""

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Final, Self, Unpack

import botocore.exceptions as boto

from ..client import RestoreClient
from ..exceptions import (
    ApiError,
    ConfigurationError,
    ConnectError,
    ConnectionLostError,
    InternalFailureError,
    ResponseTimeoutError,
    RestoreError,
    TransportError,
    UnexpectedResponseError,
)
from ._boto3 import make_boto3_client
from ._responses import BackupFields, backup_response
from ._virtual_time import VirtualTimeClient

if TYPE_CHECKING:
    from ..aio import AsyncRestoreClient

_URL: Final = "https://cloudhsmv2.us-east-1.amazonaws.com/"

# What botocore raises if the client raises these. botocore's Stubber itself knows only ClientErrors.
_BOTOCORE_ERRORS: Final[Mapping[type[RestoreError], Callable[[], Exception]]] = {
    ConfigurationError: boto.NoCredentialsError,
    ConnectError: lambda: boto.EndpointConnectionError(endpoint_url=_URL),
    ConnectionLostError: lambda: boto.ConnectionClosedError(endpoint_url=_URL),
    ResponseTimeoutError: lambda: boto.ReadTimeoutError(endpoint_url=_URL),
    TransportError: lambda: boto.HTTPClientError(error="no usable response"),
}


class _Queue:
    """The responses for a boto3 client: botocore's ``Stubber``, and what it cannot do."""

    def __init__(self) -> None:
        from botocore.stub import Stubber

        self._boto3 = make_boto3_client(None)
        self._stubber = Stubber(self._boto3)
        # What a response does besides, by the identity of the dict that botocore's Stubber passes on.
        self._effects: dict[int, tuple[dict[str, Any], Exception | None]] = {}
        self._boto3.meta.events.register("before-parameter-build.cloudhsm-v2", self._remember_id)
        self._boto3.meta.events.register("after-call.cloudhsm-v2", self._apply_effect)
        # At once, and until the end: nothing is ever sent, also before and after the block.
        self._stubber.activate()

    def add_backup(self, **fields: Unpack[BackupFields]) -> None:
        """Queue a success for the next RestoreBackup, with this backup. Defaults are as in `backup_response`.

        With ``backup_id`` the call must be for that ID. Without it, the response is for the ID in the call.
        """
        response: Any = backup_response(**fields)
        expected = {"BackupId": fields["backup_id"]} if "backup_id" in fields else None
        self._stubber.add_response("restore_backup", response, expected)
        if expected is None:
            self._effects[id(response)] = response, None

    def add_error(
        self,
        error: type[RestoreError],
        *,
        message: str = "stubbed",
        code: str | None = None,
        operation: str = "RestoreBackup",
    ) -> None:
        """Queue a failure for the next call, with which the client raises ``error``.

        Args:
            error: `ApiError` or one of its subclasses, or a failure of the transport or the configuration.
            message: the service's message, for an `ApiError`.
            code: the AWS error code, for an `ApiError`. Default: the code of the class.
            operation: the AWS operation that must be called.

        Raises:
            TypeError: no single response has this error as its result, such as a ``WaitTimeoutError``.
        """
        method = self._method(operation)
        if issubclass(error, ApiError):
            code = code or next(iter(error.codes), "Unknown")
            # Only HTTP 500 makes an internal failure ambiguous: the service may have done its work.
            status = 500 if issubclass(error, InternalFailureError) else 400
            self._stubber.add_client_error(method, code, message, status)
        elif error is UnexpectedResponseError:
            # Valid for botocore, because the service model does not require a backup in a response.
            self.add_response({}, operation=operation)
        elif error in _BOTOCORE_ERRORS:
            response: dict[str, Any] = {}
            self._stubber.add_response(method, response)
            self._effects[id(response)] = response, _BOTOCORE_ERRORS[error]()
        else:
            raise TypeError(
                f"{error.__name__} is not caused by a single response; queue the responses that lead to it"
            )

    def add_response(self, response: Mapping[str, Any], *, operation: str | None = None) -> None:
        """Queue a response for the next call, in boto3's shape. It is validated against the service model.

        The default ``operation`` is DescribeBackups for a response with ``Backups``, and else RestoreBackup.
        """
        if operation is None:
            operation = "DescribeBackups" if "Backups" in response else "RestoreBackup"
        self._stubber.add_response(self._method(operation), dict(response))

    def _method(self, operation: str) -> str:
        # botocore's Stubber knows operations by boto3's methods, and everyone else by AWS's names.
        for method, name in self._boto3.meta.method_to_api_mapping.items():
            if operation in (name, method):
                return method
        raise ValueError(f"CloudHSM V2 has no operation {operation}")

    def _remember_id(self, params: Mapping[str, Any], context: dict[str, Any], **_: object) -> None:
        context["cloudhsm_restore_backup_id"] = params.get("BackupId")

    def _apply_effect(self, parsed: object, model: Any, context: Mapping[str, Any], **_: object) -> None:
        # The last event of a call, also of a stubbed one. An exception of its handler leaves boto3 unchanged.
        response, failure = self._effects.pop(id(parsed), (None, None))
        if failure is not None:
            if not isinstance(failure, boto.NoCredentialsError):
                # The attempt that botocore would have reported before it raises this.
                self._boto3.meta.events.emit(
                    f"response-received.cloudhsm-v2.{model.name}",
                    response_dict=None,
                    parsed_response=None,
                    context=context,
                    exception=failure,
                )
            raise failure
        if response is not None:
            response["Backup"]["BackupId"] = context["cloudhsm_restore_backup_id"]


class RestoreStubber(_Queue):
    """Queues responses for the calls of ``client``: botocore's ``Stubber``, ready for a `RestoreClient`.

    ::

        with RestoreStubber() as stub:
            stub.add_backup(backup_id="backup-a2b3c4d5e6f")
            stub.add_error(InvalidRequestError)
            code_under_test(stub.client)

    Exiting the block raises ``AssertionError`` if a queued response was not used. A call with no queued
    response, or with other parameters, raises botocore's ``StubResponseError``. Time is virtual: a wait ends
    at once, and counts toward ``timeout``.
    """

    client: RestoreClient
    """The client to pass to the code under test."""

    def __init__(self) -> None:
        """Create the client. Nothing in the environment changes its behavior."""
        super().__init__()
        self.client = VirtualTimeClient(self._boto3)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self._boto3.close()
        if kind is None:
            self._stubber.assert_no_pending_responses()


class AsyncRestoreStubber(_Queue):
    """`RestoreStubber` for asyncio: the same methods, for an ``AsyncRestoreClient``, without a network.

    ::

        async with AsyncRestoreStubber() as stub:
            stub.add_backup(backup_id="backup-a2b3c4d5e6f")
            stub.add_error(InvalidRequestError)
            await async_code_under_test(stub.client)
    """

    client: "AsyncRestoreClient"
    """The client to pass to the code under test."""

    def __init__(self) -> None:
        """Create the client. Nothing in the environment changes its behavior."""
        from ._virtual_time_async import VirtualTimeAsyncClient

        super().__init__()
        self.client = VirtualTimeAsyncClient(self._boto3)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, kind: type[BaseException] | None, *_: object) -> None:
        await self.client.close()
        self._boto3.close()
        if kind is None:
            self._stubber.assert_no_pending_responses()
