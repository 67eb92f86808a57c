"""TLS: a failed handshake has sent nothing; a connection that fails later may have sent the request."""

import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import trustme

from cloudhsm_restore import ConfigurationError, ConnectError, ConnectionLostError, RestoreError

from .conftest import MakeClient
from .raw_server import BACKUP_ID

Serve = Callable[[socket.socket], None]


@pytest.fixture
def authority(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> trustme.CA:
    """Create a certificate authority that boto3 trusts."""
    authority = trustme.CA()
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    monkeypatch.setenv("AWS_CA_BUNDLE", str(tmp_path / "ca.pem"))
    return authority


@pytest.fixture
def listen() -> Iterator[Callable[[Serve], str]]:
    """Serve the first connection with a function, and return the URL."""
    listener = socket.create_server(("127.0.0.1", 0))
    threads: list[threading.Thread] = []

    def listen(serve: Serve) -> str:
        def run() -> None:
            with suppress(OSError):  # The client fails, and the test checks how.
                connection, _ = listener.accept()
                with connection:
                    serve(connection)

        threads.append(threading.Thread(target=run))
        threads[-1].start()
        return f"https://127.0.0.1:{listener.getsockname()[1]}"

    yield listen
    with suppress(OSError):  # Wakes a thread that is still in accept().
        listener.shutdown(socket.SHUT_RDWR)
    for thread in threads:
        thread.join()
    listener.close()


def context_of(authority: trustme.CA) -> ssl.SSLContext:
    """Create the context of a server with a certificate for 127.0.0.1."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    certificate: Any = authority.issue_cert(
        "127.0.0.1"
    )  # trustme's annotations need pyOpenSSL, which is not installed.
    certificate.configure_cert(context)
    return context


def restore_error(make_client: MakeClient, url: str) -> RestoreError:
    """Return the error of a restore at the URL."""
    with pytest.raises(RestoreError) as caught:
        make_client(url).restore_backup(BACKUP_ID)
    return caught.value


def test_an_untrusted_certificate(
    authority: trustme.CA, make_client: MakeClient, listen: Callable[[Serve], str]
) -> None:
    """An untrusted certificate is a ConnectError: nothing was sent."""
    context = context_of(trustme.CA())
    error = restore_error(make_client, listen(lambda raw: context.wrap_socket(raw, server_side=True).close()))
    assert type(error) is ConnectError
    assert not error.outcome_unknown
    assert "CERTIFICATE_VERIFY_FAILED" in str(error)


def test_a_server_without_tls(make_client: MakeClient, listen: Callable[[Serve], str]) -> None:
    """A server that responds in plain HTTP is a ConnectError: nothing was sent."""
    error = restore_error(make_client, listen(lambda raw: raw.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")))
    assert type(error) is ConnectError
    assert not error.outcome_unknown


def test_a_malformed_record_after_the_handshake(
    authority: trustme.CA, make_client: MakeClient, listen: Callable[[Serve], str]
) -> None:
    """A malformed TLS record instead of a response is a lost connection, and ambiguous."""
    context = context_of(authority)

    def serve(raw: socket.socket) -> None:
        connection = context.wrap_socket(raw, server_side=True)
        connection.recv(65536)
        forged = b"\x17\x03\x03\x00\x20" + b"x" * 32
        with socket.socket(fileno=connection.detach()) as bare:
            bare.sendall(forged)

    error = restore_error(make_client, listen(serve))
    assert type(error) is ConnectionLostError
    assert error.outcome_unknown


def test_a_response_lost_in_a_tunnel_is_ambiguous(
    authority: trustme.CA, make_blocking_client: MakeClient, listen: Callable[[Serve], str]
) -> None:
    """A response lost in a tunnel is ambiguous, although botocore reports a ProxyConnectionError."""
    context = context_of(authority)

    def serve(raw: socket.socket) -> None:
        raw.recv(65536)
        raw.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
        with context.wrap_socket(raw, server_side=True) as connection:
            connection.recv(65536)

    proxy = listen(serve).replace("https", "http")
    client = make_blocking_client("https://127.0.0.1:9", proxies={"https": proxy})
    with pytest.raises(ConnectionLostError) as caught:
        client.restore_backup(BACKUP_ID)
    assert caught.value.outcome_unknown


@pytest.mark.parametrize("content", [None, "not a certificate"])
def test_an_invalid_certificate_bundle(
    authority: trustme.CA,
    make_client: MakeClient,
    listen: Callable[[Serve], str],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    content: str | None,
) -> None:
    """A missing or malformed AWS_CA_BUNDLE is a ConfigurationError: nothing was sent."""
    bundle = tmp_path / "bundle.pem"
    if content is not None:
        bundle.write_text(content)
    monkeypatch.setenv("AWS_CA_BUNDLE", str(bundle))
    context = context_of(authority)
    error = restore_error(make_client, listen(lambda raw: context.wrap_socket(raw, server_side=True).close()))
    assert type(error) is ConfigurationError
    assert not error.outcome_unknown
    assert not error.retryable
    assert "could not load credentials" not in str(error)
