"""Counting money, so that a run stops before it costs more than its budget."""

import asyncio
from dataclasses import dataclass, field

from yoyak.config.endpoint_section import Endpoint
from yoyak.system.errors import YoyakError

ROUNDING = 1e-9  # sums of prices are off by less


def price_of(settings: Endpoint, *, input_tokens: int, output_tokens: int) -> float:
    """The price in the currency of the params; 0 where they name no price."""
    prices = (settings.price_per_million_input or 0.0, settings.price_per_million_output or 0.0)
    return (input_tokens * prices[0] + output_tokens * prices[1]) / 1_000_000


class BudgetReachedError(YoyakError):
    """The next call could cost more than the budget allows."""


@dataclass
class Budget:
    """What the answers of a run cost, the stored ones included.

    A call reserves its highest price before it starts. Afterwards it counts with what it did cost.

    Attributes:
        limit: the param `budget`.
        spent: the price of the answers, and of calls that failed after the server may have worked on them.
        param: the section of the limit, for messages.
    """

    limit: float | None
    spent: float = 0.0
    param: str = "model.endpoint"
    _reserved: float = 0.0
    _changed: asyncio.Condition = field(default_factory=asyncio.Condition)

    def start(self) -> None:
        """Begin another event loop, to which the condition of an earlier one does not belong."""
        self._reserved, self._changed = 0.0, asyncio.Condition()

    async def reserve(self, highest_price: float) -> None:
        """Wait until a call of this price is certain to fit.

        Raises:
            BudgetReachedError: if it does not fit although no other call is running.
        """
        async with self._changed:
            while self.limit is not None and self.spent + self._reserved + highest_price > self.limit + ROUNDING:
                if self._reserved <= ROUNDING:
                    raise BudgetReachedError(
                        f"{self.param}.budget: the next call could cost up to {highest_price:.6f}, and with it the answers "
                        f"of this run ({self.spent:.6f} so far) could cost more than {self.limit:g}; raise the budget to go on"
                    )
                await self._changed.wait()
            self._reserved += highest_price

    async def settle(self, highest_price: float, price: float) -> None:
        """Replace a reservation by what the call did cost."""
        async with self._changed:
            self._reserved -= highest_price
            self.spent += price
            self._changed.notify_all()
