"""`RestoreStubber`: a `RestoreClient` whose answers are queued beforehand."""

from collections.abc import Callable, Mapping
from types import TracebackType
from typing import Any, Final, Self, Unpack

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
from ._responses import REGION, BackupFields, backup_response

_URL = "https://cloudhsmv2.us-east-1.amazonaws.com/"

# What botocore raises where our client raises these; botocore's Stubber itself knows only ClientErrors.
_RAISED: Final[Mapping[type[RestoreError], Callable[[], Exception]]] = {
    ConfigurationError: boto.NoCredentialsError,
    ConnectError: lambda: boto.EndpointConnectionError(endpoint_url=_URL),
    ConnectionLostError: lambda: boto.ConnectionClosedError(endpoint_url=_URL),
    ResponseTimeoutError: lambda: boto.ReadTimeoutError(endpoint_url=_URL),
    TransportError: lambda: boto.HTTPClientError(error="no usable answer"),
}


class RestoreStubber:
    """Answers the calls of ``client`` from a queue: botocore's ``Stubber``, ready for a `RestoreClient`.

    ::

        with RestoreStubber() as stub:
            stub.add_backup(backup_id="backup-a2b3c4d5e6f")
            stub.add_error(InvalidRequestError)
            code_under_test(stub.client)

    Leaving the block fails with ``AssertionError`` if something queued was not asked for. A call that was
    not queued, or not with these parameters, fails with botocore's ``StubResponseError``.
    """

    client: RestoreClient
    """The client to give to the code under test."""

    def __init__(self) -> None:
        from botocore.stub import Stubber

        self._boto3 = make_boto3_client(None, REGION)
        self._stubber = Stubber(self._boto3)
        # What else an answer does, by the identity of the dict that botocore's Stubber hands on.
        self._effects: dict[int, tuple[dict[str, Any], Exception | None]] = {}
        self._boto3.meta.events.register("before-parameter-build.cloudhsm-v2", self._note_id)
        self._boto3.meta.events.register("after-call.cloudhsm-v2", self._take_effect)
        self._stubber.activate()
        self.client = RestoreClient(self._boto3)

    def add_backup(self, **fields: Unpack[BackupFields]) -> None:
        """The next RestoreBackup succeeds with this backup; defaults as in `backup_response`.

        With ``backup_id`` the call must ask for that ID; without it, the answer is about the ID it asks for.
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
        """The next call fails in such a way that the client raises ``error``.

        Args:
            error: `ApiError` or one of its subclasses, or a failure of the transport or the configuration.
            message: the service's words, for an `ApiError`.
            code: the AWS error code, for an `ApiError`; by default the class's own.
            operation: the AWS operation that has to be called.

        Raises:
            TypeError: no single answer makes the client raise this, such as a ``WaitTimeoutError``.
        """
        method = self._method(operation)
        if issubclass(error, ApiError):
            code = code or next(iter(error.codes), "Unknown")
            status = 500 if issubclass(error, InternalFailureError) else 400
            self._stubber.add_client_error(method, code, message, status)
        elif error is UnexpectedResponseError:
            self.add_response({}, operation=operation)
        elif error in _RAISED:
            response: dict[str, Any] = {}
            self._stubber.add_response(method, response)
            self._effects[id(response)] = response, _RAISED[error]()
        else:
            raise TypeError(f"no answer makes a client raise {error.__name__}: queue what leads to it")

    def add_response(self, response: Mapping[str, Any], *, operation: str | None = None) -> None:
        """The next call gets this, in boto3's shape; checked against botocore's service model.

        Without ``operation`` it is an answer to DescribeBackups if it has ``Backups``, or to RestoreBackup.
        """
        if operation is None:
            operation = "DescribeBackups" if "Backups" in response else "RestoreBackup"
        self._stubber.add_response(self._method(operation), dict(response))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._boto3.close()
        if error is None:
            self._stubber.assert_no_pending_responses()

    def _method(self, operation: str) -> str:
        for method, name in self._boto3.meta.method_to_api_mapping.items():
            if operation in (name, method):
                return method
        raise ValueError(f"CloudHSM V2 has no operation {operation}")

    def _note_id(self, params: Mapping[str, Any], context: dict[str, Any], **_: object) -> None:
        context["cloudhsm_restore_backup_id"] = params.get("BackupId")

    def _take_effect(self, parsed: object, context: Mapping[str, Any], **_: object) -> None:
        response, failure = self._effects.pop(id(parsed), (None, None))
        if failure is not None:
            raise failure
        if response is not None:
            response["Backup"]["BackupId"] = context["cloudhsm_restore_backup_id"]
