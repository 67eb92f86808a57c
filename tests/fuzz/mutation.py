"""Mutations that keep the structure of an input, in addition to libFuzzer's, which do not."""

# pyright: basic

import json
import random
from collections.abc import Callable
from typing import Any, Final

from .responses import BACKUP_ID, BETWEEN, LETTERS, REQUEST, Script
from .sizes import FORMS, expanded

Plain = Callable[[bytes, int], bytes]
"""libFuzzer's mutation: the bytes, and the maximum size."""

VALUES: Final[tuple[Any, ...]] = (
    None, True, False, 0, -1, 1, 51, 10**13, -(10**13), 1e400, 253402300800, -62135596801, 1534461854.64, 2**64,
    float("nan"), "", " ", "0", "true", "1534461854", "2026-01-02T03:04:05Z", "0001-01-01T00:00:00+23:59",
    "9999-12-31T23:59:59-23:59", "Thu, 01 Jan 1970 00:00:00 GMT", "a\nb", "\u2028", "\ud800", "\x00", "\x1b[31m",
    "READY", "PENDING_DELETION", "CREATE_IN_PROGRESS", "DELETED", "FIPS", BACKUP_ID, "backup-7777777zzzz", [], {},
    [[]], [None], [{}], {"": None}, [{"Key": "a", "Value": "b"}], [{"Key": None}], "x" * 300, REQUEST.decode(),
    "CloudHsmInvalidRequestException", "com.amazonaws#ThrottlingException", "InternalFailure:http://x",
    "CloudHsmInternalFailureException", "ServiceUnavailable", "ExpiredTokenException", "a;Sender",
)  # fmt: skip
KEYS: Final = (
    "Backup", "Backups", "NextToken", "BackupId", "BackupArn", "BackupState", "ClusterId", "CreateTimestamp",
    "CopyTimestamp", "NeverExpires", "SourceRegion", "SourceBackup", "SourceCluster", "DeleteTimestamp", "TagList",
    "HsmType", "Mode", "Key", "Value", "__type", "Message", "message", "code", "Error", "Code", "Type", "Fault",
    "ResponseMetadata", "RetryAttempts", "HTTPStatusCode", "RequestId", "Filters", "backupIds", "clusterIds",
    "states", "neverExpires", "sourceBackupIds", "MaxResults", "SortAscending", "Shared", "backup_id", "",
)  # fmt: skip
REPEATED: Final = (
    "//", "%", "%25", "%25252b", "&amp;", "&#", "\\\\", "\\u005c", "\\\\u005c", "Signature=", "password=", "Authorization: ",
    "Invalid endpoint: ", "secret_access_key:", "<p>", "x", " ", "\n", "\\n", "é", "TokenTokenTokenToken/+", "\x00", "=",
    "{}", "[", "{},", '{"__type":', '"Message":"a",', "\ud800", "a@", "1", "-", "x-amz-security-token: ",
)  # fmt: skip
"""Texts that a server may repeat up to a megabyte. Some are hostile to the patterns that mask."""
NESTED: Final = (
    ('{"__type":', "}"), ('{"Error":', "}"), ("[", "]"), ('{"Message":', "}"), ('{"Errors":[', "]}"),
    ("<a>", "</a>"), ('{"Backup":', "}"), ('{"Backups":[', "]}"),
)  # fmt: skip
HEADERS: Final = (
    "x-amzn-requestid: 11111111-2222-4333-8444-555555555555", "x-amzn-errortype: ThrottlingException",
    "x-amzn-query-error: CloudHsmInvalidRequestException;Sender", "x-amzn-query-error: ;", "x-amzn-query-error: a",
    "x-amz-crc32: 0", "x-amz-crc32: x", "x-amz-crc32: 1e400", "content-type: application/cbor", "content-length: 5",
    "x-amz-retry-after: 99999999", "x-amz-id-2: a", "date: now", "x-amzn-requestid: a b", "retry-after: 100",
    "transfer-encoding: chunked", "content-encoding: gzip", "connection: close", "location: http://127.0.0.1:1/",
    "x-amz-checksum-crc32: AAAA", "x-amzn-requestid: ", "set-cookie: a=b", "content-encoding: br",
    "x-amz-target: BaldrApiService.RestoreBackup", "expect: 100-continue", "content-length: -1", "authorization: a",
)  # fmt: skip
STATUSES: Final = (
    "200", "201", "204", "206", "299", "300", "301", "302", "304", "307", "400", "401", "403", "404", "408", "409",
    "413", "429", "499", "500", "501", "502", "503", "504", "599", "600", "999", "101", "timeout",
    "connection-refused",
)  # fmt: skip


def _mutated_json(value: Any, chance: random.Random) -> Any:
    """Return the JSON with one change at a random place."""
    if isinstance(value, dict) and value and chance.random() < 0.85:
        key = chance.choice(list(value))
        draw = chance.random()
        if draw < 0.6:
            return value | {key: _mutated_json(value[key], chance)}
        if draw < 0.7:
            return {name: item for name, item in value.items() if name != key}
        return value | {chance.choice(KEYS): chance.choice(VALUES) if draw < 0.9 else value[key]}
    if isinstance(value, list) and value and chance.random() < 0.85:
        at = chance.randrange(len(value))
        if chance.random() < 0.7:
            return [*value[:at], _mutated_json(value[at], chance), *value[at + 1 :]]
        return value[:at] + value[at + 1 :] if chance.random() < 0.5 else [*value, value[at]]
    if isinstance(value, str) and value and chance.random() < 0.3:
        at = chance.randrange(len(value))
        return (
            value[:at]
            + chance.choice(["\n", "\x85", "#", ":", "/", "\ud800", " ", "é", "%", "{}"])
            + value[at:]
        )
    if chance.random() < 0.1:
        return {chance.choice(KEYS): value} if chance.random() < 0.5 else [value]
    return chance.choice(VALUES)


def _piece(chance: random.Random) -> str:
    """Return what stands for a long text, or for a secret in one of its forms."""
    if chance.random() < 0.3:
        return f"@{chance.choice([*FORMS])}@"
    return f"@{chance.choice((2, 3, 5, 7, 9, 12, 15, 18, 20))}*{chance.choice(REPEATED)}@"


def _with_piece(content: bytes, chance: random.Random) -> bytes:
    """Return a body with a long or nested part, or a secret."""
    at = chance.randint(0, len(content))
    piece = _piece(chance).encode("utf-8", "surrogatepass")
    draw = chance.random()
    if draw < 0.1:
        return piece
    if draw < 0.3:
        depth = chance.choice((3, 8, 9, 12, 17))
        start, end = chance.choice(NESTED)
        return f"@{depth}*{start}@".encode() + content + f"@{depth}*{end}@".encode()
    # In a string of JSON if there is one, because a body that is not JSON has only few paths.
    quotes = [place for place, letter in enumerate(content) if letter == ord('"')]
    at = chance.choice(quotes) + 1 if quotes and draw < 0.9 else at
    return content[:at] + piece + content[at:]


def mutated_content(content: bytes, chance: random.Random, plain: Plain) -> bytes:
    """Return a body, mutated as JSON if it is JSON."""
    draw = chance.random()
    if draw < 0.25:
        return _with_piece(content, chance)
    if draw < 0.4:
        return plain(content, 4096)
    try:
        value = json.loads(content)
    except (ValueError, RecursionError):
        backup = {"BackupId": BACKUP_ID, "BackupState": chance.choice(VALUES)}
        value = chance.choice([backup, {"Backup": backup}, {"Backups": [backup]}])
    for _ in range(chance.choice((1, 1, 2, 3))):
        value = _mutated_json(value, chance)
    return json.dumps(value).encode()


def _mutated_head(head: bytes, chance: random.Random, plain: Plain, first: bytes, end: bytes) -> bytes:
    lines = head.split(end)
    draw = chance.random()
    if draw < 0.4:
        lines[0] = first + chance.choice(STATUSES).encode() + (b" x" if first else b"")
    elif draw < 0.75:
        lines.insert(chance.randint(1, len(lines)), chance.choice(HEADERS).encode())
    elif draw < 0.85 and len(lines) > 1:
        del lines[chance.randrange(1, len(lines))]
    else:
        at = chance.randrange(len(lines))
        lines[at] = plain(lines[at], 200).replace(b"\n", b"")
    return end.join(lines)


def _mutated_message(message: bytes, chance: random.Random, plain: Plain, first: bytes, end: bytes) -> bytes:
    head, separator, content = message.partition(end + end)
    draw = chance.random()
    if draw < 0.1:
        return plain(message, 4096)
    if draw < 0.4:
        return _mutated_head(head, chance, plain, first, end) + separator + content
    mutated = mutated_content(content, chance, plain)
    if end == b"\r\n" and chance.random() < 0.9:
        before, name, after = head.lower().partition(b"content-length: ")
        rest = after.partition(end)
        head = before + name + str(len(expanded(mutated))).encode() + rest[1] + rest[2] if name else head
    return head + (separator or end + end) + mutated


def script(data: bytes, chance: random.Random, plain: Plain, *, wire: bool = False) -> bytes:
    """Return a script with another call, another response, or one more or one less."""
    mutated = Script.read(data)
    responses, draw = mutated.responses, chance.random()
    if draw < 0.12:
        mutated.call, mutated.attempts = chance.randrange(len(LETTERS)), chance.choice((1, 2, 3))
    elif draw < 0.2 and len(responses) < 6:
        responses.insert(chance.randint(0, len(responses)), chance.choice(responses))
    elif draw < 0.25 and len(responses) > 1:
        del responses[chance.randrange(len(responses))]
    elif draw < 0.3:
        chance.shuffle(responses)
    else:
        at = chance.randrange(len(responses))
        first, end = (b"HTTP/1.1 ", b"\r\n") if wire else (b"", b"\n")
        responses[at] = _mutated_message(responses[at], chance, plain, first, end)
    return mutated.write()


def wire_script(data: bytes, chance: random.Random, plain: Plain) -> bytes:
    """Return a mutated script whose responses are bytes on the wire."""
    return script(data, chance, plain, wire=True)


def request(data: bytes, chance: random.Random, plain: Plain) -> bytes:
    """Return a request with another target, header, or body, or with a second request after it."""
    mode, sent = data[:1] or b"a", data[1:]
    draw = chance.random()
    if draw < 0.1:
        # Mode d is rare, because it creates a service of its own, which is slow.
        return chance.choice((b"a", b"a", b"b", b"c", b"d")) + sent
    if draw < 0.2:
        return mode + plain(sent, 4096)
    if draw < 0.25:
        return mode + sent + sent[: chance.randint(0, len(sent))]
    if draw < 0.35:
        name = chance.choice(
            ("RestoreBackup", "DescribeBackups", "DeleteBackup", "ModifyBackupAttributes", "X")
        )
        for operation in (b"RestoreBackup", b"DescribeBackups", b"DeleteBackup", b"ModifyBackupAttributes"):
            sent = sent.replace(b"." + operation, b"." + name.encode(), 1)
        return mode + sent
    return mode + _mutated_message(sent, chance, plain, b"", b"\r\n")


def error(data: bytes, chance: random.Random, plain: Plain) -> bytes:
    """Return lines of exceptions with one more, one less, or one changed."""
    start, lines = data[:3], data[3:].split(b"\n")
    at, draw = chance.randrange(len(lines)), chance.random()
    if draw < 0.1:
        return b"%c%d\n" % (chance.choice(LETTERS), chance.choice((1, 2, 3))) + data[3:]
    if draw < 0.3:
        lines.insert(at, chance.choice(lines))
    elif draw < 0.35 and len(lines) > 1:
        del lines[at]
    elif draw < 0.5:
        lines[at] = bytes([chance.choice(b"hcepstblrwyokujgzv")]) + lines[at][1:]
    elif draw < 0.7:
        lines[at] = lines[at][:1] + b" %c%d" % (chance.choice(b"cxan"), chance.randint(0, 9)) + lines[at][1:]
    elif draw < 0.9:
        lines[at] += b" " + _piece(chance).encode("utf-8", "replace")
    elif draw < 0.95:
        lines[at] = b"@%d*%c %c1 a\n@" % (
            chance.choice((2, 3, 5, 7, 9)),
            chance.choice(b"hvgyl"),
            chance.choice(b"cxan"),
        )
    else:
        lines[at] = plain(lines[at], 200)
    return start + b"\n".join(lines).replace(BETWEEN, b"\n")


def model(data: bytes, chance: random.Random, plain: Plain) -> bytes:
    """Return another JSON document."""
    return mutated_content(data, chance, plain)


def arguments(data: bytes, chance: random.Random, plain: Plain) -> bytes:
    """Return arguments with one line changed."""
    lines = data.split(b"\n")
    at = chance.randrange(len(lines))
    if chance.random() < 0.3:
        pieces = (
            b"http://", b"https://", b"[::1]", b":", b"@", b"user:hunter2pass@", b"/", b"?a=b", b"#", b"%", b"{region}",
            b"127.0.0.1", b":99999", b"us-east-1", b"..", b"-", b" ", b"\t", b"\x00", b"\xff", b"aws-global", b"arn:aws:",
            b"xn--", "é".encode(), b"\\", b"fips-us-east-1", b"[", b"]", b"cn-north-1", b"backup-a2b3c4d5e6f",
        )  # fmt: skip
        column = chance.randint(0, len(lines[at]))
        lines[at] = lines[at][:column] + chance.choice(pieces) + lines[at][column:]
    else:
        lines[at] = plain(lines[at], 200)
    return b"\n".join(lines)
