"""Threads that run calls, for `restore_backups` and for the asynchronous client."""

import atexit
import os
import threading
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from contextvars import Context, copy_context
from typing import Any, Final, TypeVar
from weakref import WeakSet

from ._call import call_in_flight, cancellation
from .exceptions import RestoreError

T = TypeVar("T")


class CallThreads:
    """Runs calls in at most ``limit`` threads, in the context of the code that submits them.

    `concurrent.futures.ThreadPoolExecutor` has three properties that do not fit: the interpreter waits at its
    end for all that is queued, an idle thread stays until the pool is shut down, and a thread that cannot be
    started leaves its work in the queue. These threads are daemons that end when there is nothing to do.
    """

    def __init__(self, limit: int) -> None:
        """Start no thread yet."""
        self._limit: Final = limit
        self._lock: Final = threading.Lock()
        self._waiting: Final = deque[tuple[Future[Any], Context, Callable[[], Any]]]()
        self._running: Final[dict[int, Context]] = {}  # by the identifier of the thread
        self._threads = 0
        self._process: Final = os.getpid()
        _all_threads.add(self)

    def submit(self, future: Future[T], function: Callable[[], T], cancelled: threading.Event) -> None:
        """Run the function in a thread. Once ``cancelled`` is set, its calls send nothing more.

        The caller makes the future, so that an interrupt in here does not lose it. If no thread can be
        started, it gets a `RestoreError` that says so.
        """
        context = copy_context()
        context.run(cancellation.set, cancelled)
        with self._lock:
            self._waiting.append((future, context, function))
            if self._threads >= self._limit:
                return
            self._threads += 1
        try:
            threading.Thread(target=self._work, name="cloudhsm-restore", daemon=True).start()
        except RuntimeError as error:  # the limit of the process
            self._without_thread(str(error))

    def _without_thread(self, reason: str) -> None:
        with self._lock:
            self._threads -= 1
            if self._threads:
                return  # Another thread will run it.
            abandoned = [*self._waiting]
            self._waiting.clear()
        for future, _, _ in abandoned:
            if future.set_running_or_notify_cancel():
                future.set_exception(RestoreError(f"{reason}; nothing was sent", retryable=True))

    def _work(self) -> None:
        thread = threading.get_ident()
        while True:
            with self._lock:
                self._running.pop(thread, None)
                if not self._waiting:
                    self._threads -= 1
                    return
                future, context, function = self._waiting.popleft()
                self._running[thread] = context
            if future.set_running_or_notify_cancel():
                try:
                    result = context.run(function)
                except StopIteration as error:  # A Future cannot hold it. An exhausted mock raises it.
                    future.set_exception(RuntimeError(f"{function} raised StopIteration: {error}"))
                except BaseException as error:  # noqa: BLE001 (it is raised where the result is awaited)
                    future.set_exception(error)
                else:
                    future.set_result(result)
            # Or an idle thread would keep the last result, and a traceback its connection.
            del future, context, function
            result = None

    def can_be_awaited(self) -> bool:
        """Return whether this is called outside of these threads, which the garbage collector may do inside,
        and not in a child process, which has none of them.
        """
        return threading.get_ident() not in self._running and os.getpid() == self._process

    def contexts(self) -> list[Context]:
        """Return the contexts of the calls that run or wait."""
        with self._lock:
            return [*self._running.values(), *(context for _, context, _ in self._waiting)]


_all_threads: Final[WeakSet[CallThreads]] = WeakSet()


def _at_exit() -> None:
    # Daemon threads still run here. Nothing more is sent, and the requests in flight are waited for, with a
    # moment more for their log records; but not a thread that sleeps between two of boto3's attempts.
    everything = [*_all_threads]
    contexts = [context for threads in everything for context in threads.contexts()]
    for context in contexts:
        if (cancelled := context.get(cancellation)) is not None:
            cancelled.set()
    moments = 20
    while moments and any(threads.contexts() for threads in everything):
        moments = 20 if any(map(call_in_flight, contexts)) else moments - 1
        time.sleep(0.01)


atexit.register(_at_exit)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_all_threads.clear)  # A child process has none of these threads.
