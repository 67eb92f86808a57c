"""A service with fixed responses, so that the time of the client dominates.

    python -m benchmarks.server [MS]   prints the port, and serves until it is terminated; takes MS milliseconds

RestoreBackup always returns READY, and DescribeBackups the pages of 100,000 backups. LocalCloudHsm does not
fit: it takes its time, and rejects a second restore.
"""

import json
import socketserver
import sys
import time
from http.server import BaseHTTPRequestHandler

SECONDS = float(sys.argv[1]) / 1000 if sys.argv[1:] and __name__ == "__main__" else 0.0
BACKUPS, PAGE = 100_000, 50
BACKUP = {
    "BackupId": "backup-a2b3c4d5e6f",
    "BackupArn": "arn:aws:cloudhsm:us-east-1:111122223333:backup/backup-a2b3c4d5e6f",
    "BackupState": "READY",
    "ClusterId": "cluster-a2b3c4d5e6f",
    "CreateTimestamp": 1534461854.64,
    "NeverExpires": False,
    "TagList": [{"Key": "environment", "Value": "production"}],
    "HsmType": "hsm1.medium",
    "Mode": "FIPS",
}
RESTORED = json.dumps({"Backup": BACKUP}).encode()
_BACKUPS = json.dumps([BACKUP] * PAGE).encode()


def _page(request: bytes) -> bytes:
    token = int(json.loads(request).get("NextToken") or 0) + 1
    following = b', "NextToken": "%d"' % token if token * PAGE < BACKUPS else b""
    return b'{"Backups": ' + _BACKUPS + following + b"}"


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def do_POST(self) -> None:
        request = self.rfile.read(int(self.headers["Content-Length"]))
        time.sleep(SECONDS)
        body = RESTORED if self.headers["X-Amz-Target"].endswith(".RestoreBackup") else _page(request)
        kind = "Content-Type: application/x-amz-json-1.1"
        self.wfile.write(f"HTTP/1.1 200 OK\r\n{kind}\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body)

    def handle_one_request(self) -> None:
        try:
            super().handle_one_request()
        except ConnectionError:
            self.close_connection = True

    def log_message(self, *_: object) -> None:  # type: ignore[override]
        """Print nothing."""


class _Server(socketserver.ThreadingTCPServer):
    daemon_threads = True
    request_queue_size = 128


if __name__ == "__main__":
    with _Server(("127.0.0.1", 0), _Handler) as server:
        sys.stdout.write(f"{server.server_address[1]}\n")
        sys.stdout.flush()
        server.serve_forever()
