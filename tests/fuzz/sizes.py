"""Large inputs from few bytes, and a bound on the work that they cause.

In an input, ``@18*//@`` stands for ``//`` 2 ** 18 times, and ``@9*{"Error":@1@9*}@`` for 512 nested objects.
So a fuzzer, whose inputs are short, gets to an error page of 1 MiB with one change. ``@TOKEN@`` and the other
names of `FORMS` stand for the session token, as it is and as servers and libraries write it.
"""

# pyright: basic

import html
import re
import time
from base64 import b64encode
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Final
from urllib.parse import quote

from .checks import holds

KEY, TOKEN = "SecretKeySecretKeySecretKey", "TokenTokenTokenToken/+="
FORMS: Final = {
    "KEY": KEY,
    "TOKEN": TOKEN,
    "URL": quote(TOKEN, safe=""),
    "TWICE": quote(quote(TOKEN, safe=""), safe=""),
    "JSON": "".join(f"\\u{ord(character):04x}" for character in TOKEN),
    "HTML": "".join(f"&#{ord(character)};" for character in TOKEN),
    "BASE64": b64encode(TOKEN.encode()).decode(),
}
SECRETS: Final = frozenset(FORMS.values()) | {html.escape(TOKEN)}

MAX_SIZE: Final = 1 << 20
"""Bytes of a response, once its repetitions are written out."""
LARGE: Final = 1 << 16
"""From this size on, the work is measured. Below it, the cost of any call outweighs that of its bytes."""
FACTOR, CONSTANT, FOR_EACH_BYTE = 3, 0.1, 100e-9
"""A call may take three times the CPU time of boto3's, and these seconds more. Typical are twice, and 3 ms."""
_REPEATS: Final = 5

_REPETITION: Final = re.compile(rb"@(\d{1,2})\*([^@]{1,64})@")
_FORM: Final = re.compile(rb"@(%b)@" % "|".join(FORMS).encode())


def expanded(data: bytes) -> bytes:
    """Return the bytes with all forms and repetitions written out, but at most `MAX_SIZE` of them."""
    room = MAX_SIZE

    def repeated(found: re.Match[bytes]) -> bytes:
        nonlocal room
        times = min(1 << min(int(found[1]), 20), room // len(found[2]))
        room -= times * len(found[2])
        return found[2] * times

    data = _FORM.sub(lambda found: FORMS[found[1].decode()].encode(), data)
    return _REPETITION.sub(repeated, data)[:MAX_SIZE]


def check_work(size: Callable[[], int], call: Callable[[], object], boto3_call: Callable[[], object]) -> None:
    """Check that a call takes little more CPU time than boto3's own with the same responses.

    Args:
        size: returns the bytes that the last call received.
        call: this library's call.
        boto3_call: boto3's call.

    Time is noisy, so only a bound that is exceeded in each of several measurements is violated. Quadratic work
    exceeds it by far: 2 ** 32 steps for the smallest input that is measured, instead of 2 ** 16.
    """
    for _ in range(_REPEATS):
        took = _cpu_seconds(call)
        if size() < LARGE:
            return
        bound = FACTOR * _cpu_seconds(boto3_call) + CONSTANT + FOR_EACH_BYTE * size()
        if took <= bound:
            measured[0] += 1
            return
    holds(False, f"{took:.3f} s of CPU time for {size():,} bytes, and the bound is {bound:.3f} s")


measured: Final = [0]
"""How many inputs of `LARGE` bytes or more were measured."""


def _cpu_seconds(call: Callable[[], Any]) -> float:
    began = time.process_time()
    with suppress(Exception):  # What is raised is checked elsewhere.
        call()
    return time.process_time() - began
