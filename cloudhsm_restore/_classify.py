"""Decide which `RestoreError` a botocore exception is, and whether the request was sent.

Theory of operation. A call of a boto3 client gets this far, and fails like this:

1. Validation of the parameters: `ParamValidationError`. Nothing was sent.
2. For each attempt, signing, which may first load credentials from STS, SSO, or a process: a `BotoCoreError`
   of any kind, another operation's `ClientError`, or a bare `KeyError` or `EOFError` from the code that reads
   them. This attempt sent nothing.
3. Connecting: name resolution, TCP, the CONNECT request to a proxy, and the TLS handshake. This attempt sent
   nothing either. botocore raises `EndpointConnectionError` for the first two. For the others it raises
   classes that it also raises after the request was sent: `ProxyConnectionError`, `SSLError`.
4. Sending the request and reading the response: `ConnectionClosedError`, `ReadTimeoutError`, and also
   `ProxyConnectionError`, `SSLError`, and `HTTPClientError`. The service may have processed the request.
5. Parsing the response: `ResponseParserError`, or a bare exception, because the parser trusts its input.
6. A response with status 300 or above: `ClientError`. A 4xx status with an AWS error code comes from the
   service and means that the request was rejected. Any other may come from a proxy on the way, or from a
   service that failed after the work.

Between 3 and 4 lies the whole question. It is decided by the type of the innermost exception, from a short
list of types that occur only before a connection exists, and by the functions of `_BEFORE_SENT_FUNCTIONS` in
its traceback. Everything that is not shown to be stage 1, 2, or 3 counts as sent: `outcome_unknown` that is
True without need costs a DescribeBackups call, but False without proof can cost the only copy of the keys.

Checked with botocore 1.35.16 to 1.44.8, urllib3 1.26 and 2.0 to 2.7, and CPython 3.11 to 3.14.
"""

import ssl
from collections.abc import Iterator, Mapping
from itertools import pairwise
from socket import gaierror
from typing import Final, NamedTuple

import botocore.exceptions as boto

from .exceptions import (
    ApiError,
    ConfigurationError,
    ConnectError,
    ConnectionLostError,
    InternalFailureError,
    ParameterError,
    ResponseTimeoutError,
    RestoreError,
    TransportError,
    UnexpectedResponseError,
    section,
)

# The first row that matches decides, unless `_class_by_stage` knows that the request was not sent.
_ERROR_CLASSES: Final[tuple[tuple[type[Exception], type[RestoreError]], ...]] = (
    (boto.ReadTimeoutError, ResponseTimeoutError),
    (boto.ConnectionClosedError, ConnectionLostError),
    (boto.ResponseStreamingError, ConnectionLostError),
    (boto.IncompleteReadError, ConnectionLostError),
    (boto.ConnectionError, ConnectionLostError),
    (boto.ChecksumError, UnexpectedResponseError),
    (boto.ParamValidationError, ParameterError),
    (boto.HTTPClientError, TransportError),
    (boto.BotoCoreError, ConfigurationError),
)

# The only functions whose names decide anything. All belong to CPython's standard library: the handshake ends
# before the request is sent, a proxy forwards nothing before it accepts CONNECT, an invalid header is found
# while the request is still being written down, and the URL of a proxy is parsed before a connection to it is
# made. Without these rows they would count as sent.
_BEFORE_SENT_FUNCTIONS: Final[Mapping[tuple[str, str], type[RestoreError]]] = {
    ("ssl", "do_handshake"): ConnectError,
    ("http.client", "_tunnel"): ConnectError,
    ("urllib3.connection", "_tunnel"): ConnectError,  # a copy of CPython's, for older Pythons (urllib3 2.6)
    ("http.client", "putheader"): ConfigurationError,
    ("urllib.parse", "urlsplit"): ConfigurationError,
}

# botocore's modules that load credentials and sign.
_CREDENTIAL_MODULES: Final = ("botocore.credentials", "botocore.signers", "botocore.tokens")
# botocore's modules that call event handlers. The frame after them belongs to the handler.
_HANDLER_CALLERS: Final = ("botocore.hooks", "botocore._helpers")


_CLIENT_ERROR, _SERVER_ERROR = 4, 5  # of an HTTP status, the first digit


def _code_key(code: str) -> str:
    return code.removeprefix("CloudHsm").removesuffix("Exception").removesuffix("Error")


_API_ERROR_CLASSES: Final[Mapping[str, type[ApiError]]] = {
    _code_key(code): cls
    for cls in ApiError.__subclasses__()
    if cls.__module__ == ApiError.__module__  # An application may have subclasses of its own.
    for code in cls.codes
}


class ErrorFacts(NamedTuple):
    """What an error response shows."""

    cls: type[ApiError]
    """The class, by the AWS error code and the HTTP status."""
    is_rejection: bool
    """Whether the service did not carry out the request: a 4xx status with an AWS error code."""
    is_server_error: bool
    """Whether the HTTP status says that the service, or a proxy, failed."""


def read_error(response: object) -> ErrorFacts:
    """Return what an error response shows. Whatever a server or a test double left out counts as unknown."""
    code = section(response, "Error").get("Code")
    code = code if isinstance(code, str) else ""
    status = str(section(response, "ResponseMetadata").get("HTTPStatusCode"))
    hundreds = int(status) // 100 if status.isdecimal() else 0
    is_server_error = hundreds == _SERVER_ERROR
    cls = _API_ERROR_CLASSES.get(_code_key(code), InternalFailureError if is_server_error else ApiError)
    # Without a code, botocore puts the status in its place. A proxy may put any text there.
    has_code = code.replace(".", "_").isidentifier()
    is_rejection = has_code and hundreds == _CLIENT_ERROR and not issubclass(cls, InternalFailureError)
    return ErrorFacts(cls, is_rejection, is_server_error)


NOT_SENT: Final = (ConnectError, ConfigurationError, ParameterError)
"""The classes for an attempt that sent nothing."""


def may_have_succeeded(cls: type[RestoreError] | None, response: object) -> bool:
    """Return whether an attempt is ambiguous: it may have been carried out.

    Args:
        cls: the class of its error; None if it is not known.
        response: the error response, which an `ApiError` has.
    """
    if cls is not None and issubclass(cls, ApiError):
        return not read_error(response).is_rejection
    return cls is None or not issubclass(cls, NOT_SENT)


def error_class(error: Exception, url: str | None, *, receiving: bool) -> type[RestoreError] | None:
    """Return the class for an exception of botocore other than a `ClientError`; None if it must propagate.

    Args:
        error: the exception.
        url: the URL of the attempt in flight; None if there is none, so that nothing is being sent.
        receiving: whether a response was received and was being parsed.
    """
    if isinstance(error, RestoreError | boto.StubResponseError):
        return None
    by_handler = raised_by_handler(error)
    if url is None and not by_handler and raised_resolving_credentials(error):
        return ConfigurationError
    if isinstance(error, boto.HTTPClientError | boto.ConnectionError):
        endpoint_url = section(vars(error), "kwargs").get("endpoint_url")
        # An event handler may raise the error of a connection of its own, which shows nothing about this one.
        elsewhere = url is not None and (endpoint_url or (None if by_handler else url)) != url
        cls = _class_by_stage(error)
        if cls is not None and not (elsewhere and issubclass(cls, NOT_SENT)):
            return cls
    for botocore_class, restore_error_class in _ERROR_CLASSES:
        if isinstance(error, botocore_class):
            return restore_error_class
    from botocore.parsers import ResponseParserError  # boto3 imports it with its first client.

    if isinstance(error, ResponseParserError):
        return UnexpectedResponseError
    # A bare ValueError or KeyError is botocore's only if botocore raised it.
    if by_handler or not any(module.startswith("botocore.") for module, _ in _frames(error)):
        return None
    return UnexpectedResponseError if receiving or url is not None else ConfigurationError


def _class_by_stage(error: boto.HTTPClientError | boto.ConnectionError) -> type[RestoreError] | None:
    """Return the class if the exception, or one inside of it, shows how far the attempt got."""
    # boto3 imports both with its first client.
    from http.client import HTTPException

    from urllib3 import exceptions as urllib3

    if isinstance(error, boto.ConnectTimeoutError | boto.EndpointConnectionError):
        return ConnectError
    # These occur only while there is no connection yet.
    connecting = (
        urllib3.NewConnectionError, urllib3.ConnectTimeoutError, gaierror, ConnectionRefusedError,
        ssl.SSLCertVerificationError,
    )  # fmt: skip
    # These are about a URL, a file, or a text of this machine. A socket never raises them.
    local = (
        urllib3.LocationValueError, urllib3.ProxySchemeUnknown, FileNotFoundError, IsADirectoryError,
        NotADirectoryError, UnicodeEncodeError,
    )  # fmt: skip
    inner = [*exception_chain(error)][1:]
    if any(isinstance(link, connecting) for link in inner):
        return ConnectError
    # Outside of the other two functions `urlopen` has a response: it parses the Location of a redirect (2.8).
    names = {name for link in inner for module, name in _frames(link) if module == "urllib3.connectionpool"}
    has_response = names & {"urlopen", "_make_request", "_prepare_proxy"} == {"urlopen"}
    if not has_response and any(isinstance(link, local) or _is_certificate_error(link) for link in inner):
        return ConfigurationError
    for place in (place for link in inner for place in _frames(link)):
        if place in _BEFORE_SENT_FUNCTIONS:
            return _BEFORE_SENT_FUNCTIONS[place]
    network = (OSError, urllib3.HTTPError, HTTPException)
    if inner and not any(isinstance(link, network) for link in inner):
        return RestoreError  # A test double or a bug raised it on this machine: it is not worth a retry.
    return None


def _is_certificate_error(error: BaseException) -> bool:
    # OpenSSL's libraries for files of certificates and keys. The one for connections is "SSL".
    return isinstance(error, ssl.SSLError) and error.library in ("X509", "PEM")


def connect_reason(error: BaseException) -> str:
    """Return why no connection was established, as the innermost exception says; or an empty string."""
    innermost = [*exception_chain(error)][-1]
    if isinstance(innermost, ssl.SSLCertVerificationError):
        return getattr(innermost, "verify_message", "") or str(innermost)
    if isinstance(innermost, OSError):
        return innermost.strerror or str(innermost)
    return str(innermost) if innermost is not error else ""


def same_operation(operation: str, name: str) -> bool:
    """Return whether ``name`` is the operation's name, as AWS, boto3's methods, or the AWS CLI spell it."""
    return name == operation or name.replace("-", "").replace("_", "").lower() == operation.lower()


def raised_resolving_credentials(error: BaseException) -> bool:
    """Return whether botocore raised it while signing, or while loading credentials from other services."""
    return any(module.endswith(_CREDENTIAL_MODULES) for module, _ in _frames(error))


def raised_by_handler(error: Exception) -> bool:
    """Return whether an event handler raised it that is not botocore's."""
    modules = [module for module, _ in _frames(error)]
    handler = "botocore."
    for caller, module in pairwise(modules):
        if caller.endswith(_HANDLER_CALLERS):
            handler = module
    return not handler.startswith("botocore.")


def _frames(error: BaseException) -> Iterator[tuple[str, str]]:
    traceback = error.__traceback__
    while traceback is not None:
        frame = traceback.tb_frame
        yield str(frame.f_globals.get("__name__")), frame.f_code.co_name
        traceback = traceback.tb_next


def exception_chain(error: BaseException) -> Iterator[BaseException]:
    """Yield the exception and those that it says it came from, the innermost last.

    ``__context__`` is left out: it may be what the caller was just handling when it called this library.
    """
    waiting, seen = [error], set[int]()
    while waiting:
        link = waiting.pop()
        if id(link) in seen:
            continue
        seen.add(id(link))
        yield link
        sources: list[object] = [link.__cause__, section(vars(link), "kwargs").get("error"), *link.args]
        waiting += [source for source in sources if isinstance(source, BaseException)]
