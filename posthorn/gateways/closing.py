"""What is closed at the end of the block that opened it."""

from __future__ import annotations

from types import TracebackType
from typing import Self


class Closing:
    """``async with`` for a class that has ``aclose``."""

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Close it."""
        raise NotImplementedError
