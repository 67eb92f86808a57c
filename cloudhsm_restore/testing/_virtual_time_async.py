"""The same for asyncio. A module of its own, because it imports asyncio."""

from ..aio import AsyncRestoreClient
from ._virtual_time import VirtualTimeClient


class VirtualTimeAsyncClient(AsyncRestoreClient):
    """An `AsyncRestoreClient` that does not sleep."""

    _client_class = VirtualTimeClient
