"""The multi-factor system: 700 and more factors, corrected for bias, one model, an optimised portfolio.

Source: arXiv:2507.07107 (versions 1 and 2): hundreds of factors on A-shares, tradability masked before anything is
computed, winsorising, standardising, neutralisation, a learned combination with a sign-aware loss, block-bootstrap
GBM to enlarge the training set, long-only cross-sectional optimisation with costs. Deviations:
1. 957 factors of seven open libraries under one set of conventions, not 213 to 1,000 own ones; all fields are rarely
   there, but prices and volume alone keep 900. A window needs `least` known values, since masking leaves holes.
2. Neutralisation takes out groups, size and beta; size is the money traded where a panel has no market value.
3. The label is the standardised return from the next fill, on every `thin`-th date, weighed by its uniqueness.
4. The sign-aware loss (AdjMSE) is a choice of the nets; line and trees minimise the squared error.
5. Augmentation is off by default: GBM has no cross-section to learn from. `ablations` measures each of its modes.
6. Scores become expected returns on held-out training bars (Grinold 1994); the paper optimises over bare scores.
7. The house's factor-form optimiser stands in for SCS and MOSEK; the best k and a buffered fraction are choices.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cache
from typing import Any, Literal, get_args

from alphaloom.errors import DataError
from alphaloom.factors import FactorSet, load_library
from alphaloom.factors.options import Options
from alphaloom.forecast import LightGBM, ReturnScale, Ridge
from alphaloom.forecast.augmentation import Augmentation, AugmentationMode
from alphaloom.forecast.correction import Correction
from alphaloom.portfolio import TopFraction, TopK
from alphaloom.roles import Allocator, Learner

__all__ = ["MultiFactor", "joined"]

Model = Literal["ridge", "lightgbm", "mlp", "factor_transformer"]
Loss = Literal["mse", "ic", "rank_ic", "adj_mse"]
Choice = Literal["optimise", "top_k", "quantile"]
LIBRARIES = ("alpha101", "alpha158", "alpha360", "breadth", "classic", "micro", "style")
_STEPS: Mapping[str, Mapping[str, Any]] = {
    **{f"no {step}": {step: False} for step in ("winsorize", "fill", "neutralise", "again", "orient", "uniqueness")},
    **{"no redundancy": {"redundancy": 1.0}, "no standardise": {"standardise": "none"}},
    **{"mask post_hoc": {"mask": "post_hoc"}, "mask none": {"mask": "none"}},
}


@dataclass(frozen=True)
class MultiFactor:
    """A learner and an allocator that belong together, and the same system with one thing changed at a time.

    `libraries` are read together; `model` learns the return over `horizon` bars with `loss` (nets only). `portfolio`:
    "optimise" (long-only mean-variance), "top_k", or "quantile" (among the best `enter` until not among the best
    `leave`). `band` bounds a group against its part of the universe, `turnover` what is traded at once; 0 is no bound.
    Raises: DataError for settings out of range.
    """

    libraries: tuple[str, ...] = LIBRARIES
    least: int = 10
    model: Model = "ridge"
    loss: Loss = "mse"
    horizon: int = 5
    thin: int = 5
    known: float = 0.5
    correction: Correction = field(default_factory=Correction)
    augmentation: Augmentation | None = None
    portfolio: Choice = "optimise"
    every: int = 5
    aversion: float = 10.0
    cap: float = 0.03
    risk: Literal["sample", "ledoit_wolf", "ewma", "factor"] = "ledoit_wolf"
    window: int = 120
    cost: float = 0.0008
    band: float = 0.05
    turnover: float = 0.3
    k: int = 50
    buffer: int = 50
    enter: float = 0.1
    leave: float = 0.2
    alpha: float = 0.1
    trees: int = 150
    min_rows: int = 500
    hidden: tuple[int, ...] = (128, 64)
    epochs: int = 20
    members: int = 1
    device: str = "cpu"
    threads: int = 1
    seed: int = 0

    def __post_init__(self) -> None:
        object.__setattr__(self, "libraries", tuple(self.libraries))
        if self.loss != "mse" and self.model in ("ridge", "lightgbm"):
            raise DataError("only nets choose their loss", found=self.loss, where="MultiFactor.loss", fix="mse")
        _ = self.learner, self.allocator  # they check their settings: a fault shows now, not after an hour of learning

    @property
    def learner(self) -> Learner:
        """The model on corrected factors; for the optimiser its scores become expected returns."""
        made = self._model(joined(self.libraries, self.least))
        return ReturnScale(made) if self.portfolio == "optimise" else made

    def _model(self, factors: FactorSet) -> Learner:
        shared: dict[str, Any] = {"factors": factors, "horizon": self.horizon, "every": self.thin, "known": self.known}
        shared |= {"correction": self.correction, "augmentation": self.augmentation, "target": "zscore"}
        if self.model == "ridge":
            return Ridge(**shared, scale="zscore", alpha=self.alpha)
        shared |= {"scale": "zscore", "seed": self.seed}
        if self.model == "lightgbm":
            return LightGBM(**shared, trees=self.trees, min_rows=self.min_rows, threads=self.threads)
        from alphaloom.forecast.neural import MLP, FactorAttention
        from alphaloom.nn import FactorTransformer, Mlp, Training

        training = Training(self.epochs, loss=self.loss, device=self.device, threads=self.threads)
        shared |= {"training": training, "members": self.members}
        if self.model == "mlp":
            return MLP(**shared, net=Mlp(self.hidden))
        return FactorAttention(**shared, net=FactorTransformer(tokens=64))

    @property
    def allocator(self) -> Allocator:
        """The optimiser, or a rule that only ranks."""
        if self.portfolio == "top_k":
            return TopK(self.k, buffer=self.buffer, every=self.every)
        if self.portfolio == "quantile":
            return TopFraction(self.enter, self.leave, every=self.every)
        from alphaloom.portfolio.optimise import Limits, MeanVariance

        label = self.correction.label
        limits = Limits(self.cap, turnover=self.turnover or None, band=(label and self.band) or None, label=label)
        sizes: dict[str, Any] = {"window": self.window, "cost": self.cost, "every": self.every}
        return MeanVariance(self.aversion, risk=self.risk, limits=limits, fallback="relax", **sizes)

    @property
    def ablations(self) -> Mapping[str, MultiFactor]:
        """One thing changed: each step off, the mask late or off, other models, losses, augmentations, portfolios."""
        found = {name: replace(self, correction=replace(self.correction, **step)) for name, step in _STEPS.items()}
        found["no augmentation"] = replace(self, augmentation=None)
        for mode in get_args(AugmentationMode):
            found[f"augmentation {mode}"] = replace(self, augmentation=Augmentation(mode, seed=self.seed))
        found |= {f"model {model}": replace(self, model=model, loss="mse") for model in get_args(Model)}
        if self.model in ("mlp", "factor_transformer"):
            found |= {f"loss {loss}": replace(self, loss=loss) for loss in get_args(Loss)}
        found |= {f"portfolio {choice}": replace(self, portfolio=choice) for choice in get_args(Choice)}
        return {name: system for name, system in found.items() if system != self}


@cache
def joined(libraries: tuple[str, ...], least: int) -> FactorSet:
    """Several libraries as one set under one set of options; each name begins with that of its library."""
    options = Options(zero_variance_corr="zero", min_periods=least)
    sets = ((name, load_library(name, options=options).factors) for name in libraries)
    factors = tuple(replace(one, name=f"{name}.{one.name}") for name, library in sets for one in library)
    return FactorSet("+".join(libraries), factors, options)
