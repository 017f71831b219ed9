"""The embedded market: a believable exchange made from a seed, so that every example and test runs without data."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from alphaloom.data.simulate_accounts import accounts, make_clock, membership
from alphaloom.data.simulate_calendar import quarter_ends, trading_days
from alphaloom.data.simulate_draws import SECTORS, Draws, Grid, Sizes, draw
from alphaloom.data.simulate_path import Clock, Path
from alphaloom.data.simulate_prices import walk
from alphaloom.data.simulate_text import headlines, name_firms
from alphaloom.errors import DataError
from alphaloom.panel import Panel
from alphaloom.signal import Signal
from alphaloom.units import MONEY, ONE, PRICE

__all__ = ["EmbeddedMarket", "planted_signal", "simulate"]

_EFFECTS = ("reversal", "value", "volume", "news")
_CLOSE_OF_DAY = np.timedelta64(16 * 3600, "s")


@dataclass(frozen=True)
class EmbeddedMarket:
    """What to simulate; the same values give the same bytes.

    `reversal`, `value`, `volume` and `news` are about the daily rank correlation (IC) of each planted effect with the
    return from the next open to the one after; `noise` is the twin with the same structure and chance but nothing
    planted. `premium` is what all assets earn a year over the risk-free rate; `members` the index's part of all
    assets; `late` the part that is listed after the first bar, within `opening` bars (all by default: a market
    that shall go on as a shorter one began names the shorter one's length); `halts` the chance a bar that trading stops
    in an asset; `delistings` scales how often firms fall into distress or receive a bid; `headlines` the chance of one
    per asset and bar; `price_limit` the greatest daily move as a fraction, 0 for none.
    Raises: DataError for values that make no market.
    """

    days: int = 1500
    assets: int = 100
    seed: int = 7
    noise: bool = False
    start: str = "2015-01-02"
    reversal: float = 0.03
    value: float = 0.03
    volume: float = 0.03
    news: float = 0.03
    premium: float = 0.06
    members: float = 0.75
    late: float = 0.15
    halts: float = 0.001
    delistings: float = 1.0
    headlines: float = 0.12
    price_limit: float = 0.0
    dtype: str = "float32"
    opening: int | None = None

    def __post_init__(self) -> None:
        whole = {"days": self.days, "assets": self.assets, "opening": 1 if self.opening is None else self.opening}
        for name, count in whole.items():
            if count < 1:
                raise DataError("a market has at least one bar and one asset", found=count, where=f"simulate.{name}")
        for name in ("members", "late", "halts", "headlines", "price_limit"):
            share = getattr(self, name)
            if not 0.0 <= share <= 1.0:
                raise DataError("a part of the whole lies between 0 and 1", found=share, where=f"simulate.{name}")
        for name in (*_EFFECTS, "premium"):
            size = getattr(self, name)
            if not abs(size) <= 0.5:
                raise DataError("an effect lies between -0.5 and 0.5", found=size, where=f"simulate.{name}")
        if not 0.0 <= self.delistings < 100.0 or self.seed < 0:
            raise DataError(
                "the seed and the scale of delistings are not negative, the scale is below 100",
                found=f"seed {self.seed}, delistings {self.delistings}",
                where="simulate",
            )
        try:
            np.datetime64(self.start, "D")
        except ValueError as error:
            raise DataError("a date is written like 2015-01-02", found=self.start, where="simulate.start") from error
        if self.dtype not in ("float32", "float64"):
            raise DataError("fields are float32 or float64", found=self.dtype, where="simulate.dtype")


def simulate(market: EmbeddedMarket) -> Panel:
    """Make the panel of an embedded market: prices, accounts, events, headlines, index and rates.

    Time: bars are stamped at the close, 16:00 exchange time. Prices are adjusted for splits and dividends as of the
    last bar; `close / adj_factor` is the raw price of the day. Every field of row t was known at its close.
    Missing: a halted bar has NaN prices and no volume; an asset that leaves is paid its last close in full, so a
    `delist_loss` would count a bankruptcy's loss twice.
    With `price_limit` an asset cannot be sold at a limit-down open; a target that leaves such exits out is a little too
    kind to volatile assets, in the noise twin as well.
    """
    days, draws, clock, path = _run(market)
    fields, shape = _fields(market, draws, clock, path), (market.days, market.assets)
    cap = fields["cap"]
    member = membership(cap, path.listed, days=days, size=max(1, round(market.members * market.assets)))
    tickers, names = name_firms(market.seed, draws.sector)
    times = (days + _CLOSE_OF_DAY).astype("datetime64[ns]")
    spoken = (draws.news < market.headlines) & path.listed
    trading = path.listed & ~path.halted
    buyable, sellable = trading.copy(), trading.copy()
    if market.price_limit:
        buyable &= ~(fields["open"] >= fields["limit_up"] * (1.0 - 1e-9))
        sellable &= ~(fields["open"] <= fields["limit_down"] * (1.0 + 1e-9))
    units = dict.fromkeys(("book_equity", "net_income", "revenue", "total_assets"), MONEY)
    return Panel(
        times=times,
        assets=tickers,
        fields={name: values.astype(market.dtype) for name, values in fields.items()},
        # A later split or dividend scales the factor and the dividend as it scales the price.
        units={**units, "adj_factor": PRICE, "dividends": PRICE, "split": ONE},
        series={"index": _index(path, member, cap), "vix": path.vix, "risk_free": path.rate},
        labels={"sector": np.broadcast_to(draws.sector.astype(np.int16), shape)},
        label_names={"sector": SECTORS},
        member=member,
        listed=path.listed,
        buyable=buyable,
        sellable=sellable,
        corpus=headlines(market.seed, times, spoken=spoken, tone=path.tone, firms=(names, draws.sector)),
        notes=_notes(market),
    )


def planted_signal(market: EmbeddedMarket) -> Signal:
    """The truth: the return that each asset is expected to earn beyond the market's drift, as known at each close.

    Shape: (T, N).   Unit: a fraction for the session that follows the next open.   Missing: NaN where the asset is not
    listed; the noise twin's is zero everywhere else.
    """
    days, draws, _, path = _run(market)
    tickers, _ = name_firms(market.seed, draws.sector)
    return Signal(
        times=(days + _CLOSE_OF_DAY).astype("datetime64[ns]"),
        assets=tickers,
        values=np.where(path.listed, path.planted, np.nan),
        kind="return",
        name="planted",
    )


def _run(market: EmbeddedMarket) -> tuple[Grid, Draws, Clock, Path]:
    days = trading_days(market.start, market.days)
    ends = quarter_ends(days)
    draws = draw(
        market.seed, Sizes(market.days, market.assets, len(ends)), late=(market.late, market.opening or market.days)
    )
    clock = make_clock(days, ends, draws=draws)
    return days, draws, clock, walk(market, draws, clock=clock)


def _fields(market: EmbeddedMarket, draws: Draws, clock: Clock, path: Path) -> dict[str, Grid]:
    """All fields in double precision.   Shape: (T, N) each."""
    T, N = path.close.shape
    last = np.where(path.listed.any(axis=0), T - 1 - np.argmax(path.listed[::-1], axis=0), 0)
    columns = np.arange(N)
    factor = np.where(path.listed, path.growth / path.growth[last, columns], np.nan)
    splits = path.split / path.split[last, columns]
    scale = 1.0 / path.growth[last, columns]
    fields = {name: values * scale for name, values in _bars(market, draws, path).items()}
    raw_shares = np.where(path.listed, path.shares, np.nan)
    traded = np.where(path.halted, 0.0, path.turnover * raw_shares)
    fields["volume"] = traded / splits
    fields["amount"] = np.where(path.halted, 0.0, traded * fields["vwap"] / factor)
    fields["adj_factor"] = factor
    fields["split"] = np.where(path.listed, _steps(path.split), np.nan)
    fields["dividends"] = np.where(path.listed, path.dividend * factor, np.nan)
    fields["shares_out"] = raw_shares / splits
    fields["cap"] = raw_shares * path.close / path.growth
    fields["cap"] = np.where(path.halted, np.nan, fields["cap"])
    return {**fields, **accounts(path, clock, draws=draws)}


def _steps(product: Grid) -> Grid:
    return np.concatenate([np.ones((1, product.shape[1])), product[1:] / product[:-1]])


def _bars(market: EmbeddedMarket, draws: Draws, path: Path) -> dict[str, Grid]:
    """Open, high, low, close, vwap and limits in the walk's total-return prices; NaN on halted bars."""
    spread = draws.range_[:, :2] * 0.45 * path.vol[:, None]
    high = np.maximum(path.open, path.close) * (1.0 + spread[:, 0])
    low = np.minimum(path.open, path.close) / (1.0 + spread[:, 1])
    bars = {"open": path.open, "high": high, "low": low, "close": path.close}
    if market.price_limit:
        # No limit holds on an asset's first bar, nor on the one after a halt, whose last close nobody saw.
        seen = np.where(path.halted, np.nan, path.close)
        before = np.concatenate([np.full_like(seen[:1], np.nan), seen[:-1]])
        bars["limit_up"] = before * (1.0 + market.price_limit)
        bars["limit_down"] = before * (1.0 - market.price_limit)
        bars["high"] = np.maximum(np.fmin(high, bars["limit_up"]), np.maximum(path.open, path.close))
        bars["low"] = np.minimum(np.fmax(low, bars["limit_down"]), np.minimum(path.open, path.close))
    middle = np.clip(draws.range_[:, 2] / 3.0, 0.0, 1.0)
    body, reach = (path.open + path.close) / 2.0, (bars["high"] + bars["low"]) / 2.0
    bars["vwap"] = middle * reach + (1.0 - middle) * body
    trading = path.listed & ~path.halted
    return {name: np.where(trading, values, np.nan) for name, values in bars.items()}


def _index(path: Path, member: Grid, cap: Grid) -> Grid:
    """Level of the members weighted by yesterday's market value, dividends reinvested.   Shape: (T,)."""
    value = path.shares * np.nan_to_num(path.close) / path.growth
    weight = np.where(member & path.listed, value, 0.0)[:-1]
    with np.errstate(invalid="ignore", divide="ignore"):
        moves = np.nan_to_num(path.close[1:] / path.close[:-1] - 1.0)
        gains = np.nan_to_num((weight * moves).sum(axis=1) / weight.sum(axis=1))
    return np.asarray(1000.0 * np.concatenate([[1.0], np.cumprod(1.0 + gains)]))


def _notes(market: EmbeddedMarket) -> tuple[str, ...]:
    first = f"Simulated data: the embedded market with seed {market.seed}; no price here was ever quoted."
    if market.noise:
        return (first, "Nothing is planted: future returns relative to the market cannot be predicted.")
    sizes = ", ".join(f"{name} {getattr(market, name):g}" for name in _EFFECTS)
    return (first, f"Effects are planted (approximate daily rank IC): {sizes}.")
