"""Units of panel fields: whole exponents of price and share.

Prices are (1, 0), volumes (0, 1), money is their product (1, 1), a return is (0, 0). A later split by k divides
old prices by k and multiplies old volumes by k; a later dividend scales old prices alone. So only a value without
either exponent looks the same whenever the adjustment is made.
"""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["MONEY", "ONE", "PRICE", "SHARE", "Unit", "standard_unit"]


@dataclass(frozen=True, order=True)
class Unit:
    """Exponents of price and share; `Unit(1, 1)` is money."""

    price: float = 0
    share: float = 0

    def __mul__(self, other: Unit) -> Unit:
        return Unit(self.price + other.price, self.share + other.share)

    def __truediv__(self, other: Unit) -> Unit:
        return Unit(self.price - other.price, self.share - other.share)

    def __pow__(self, exponent: float) -> Unit:
        return Unit(self.price * exponent, self.share * exponent)

    @property
    def scale_free(self) -> bool:
        """True when no later split or dividend adjustment can change the value."""
        return self.price == 0 and self.share == 0

    def __str__(self) -> str:
        if self.scale_free:
            return "1"
        parts = [(name, power) for name, power in (("price", self.price), ("share", self.share)) if power]
        return "*".join(name if power == 1 else f"{name}^{power:g}" for name, power in parts)


ONE = Unit()
PRICE = Unit(price=1)
SHARE = Unit(share=1)
MONEY = Unit(price=1, share=1)

_STANDARD = {
    **dict.fromkeys(("open", "high", "low", "close", "vwap", "limit_up", "limit_down", "preclose"), PRICE),
    **dict.fromkeys(("volume", "shares_out"), SHARE),
    **dict.fromkeys(("amount", "cap", "book_equity", "net_income", "revenue", "total_assets"), MONEY),
}


def standard_unit(field: str) -> Unit:
    """The unit that a field of this name has unless its source says otherwise."""
    return _STANDARD.get(field, ONE)
