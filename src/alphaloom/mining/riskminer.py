"""RiskMiner: tree search over tokens with dense rewards, and a policy that learns from its best episodes.

Source: RiskMiner, arXiv:2402.07080. Where the paper prints no number, or where what it prints can be farmed or only
pushes probabilities down, the profile "safe" deviates; "paper" does as printed. Ours alone, and off in "paper": trials
that begin one step from the best formulas found (`refine`), since a tree that is dropped after each iteration comes
near a formula and leaves it again.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal

from alphaloom.errors import DataError
from alphaloom.mining.riskminer_plan import PLANS, EndMode, Optimiser, Plan, Search, Shaping, Update
from alphaloom.mining.session import Session
from alphaloom.nn.torch_state import torch_threads

if TYPE_CHECKING:
    from alphaloom.mining.riskminer_policy import Policy
    from alphaloom.mining.riskminer_search import Episode, Hunt

__all__ = ["RiskMiner"]

# So many iterations in a row without a new formula end a search: its grammar is exhausted, or its policy is.
_IDLE = 25


@dataclass(frozen=True)
class RiskMiner:
    """Risk-seeking tree search for formulas; what is None is as the profile says.

    `search`: "both", "policy" (episodes of the policy alone) or "tree" (no policy: prior and completions are uniform).
    An iteration is `simulations` trials from the empty formula, `leaves` at a time, each under way counting as
    `virtual_loss` trials that brought the least; then the policy learns from them and the tree is dropped.
    `exploration` weighs the policy in the choice of tokens, `scaled` brings values to [0, 1] within the tree, and
    `paper_exact_backup` leaves the reward on a token out of that token's value. `noise` of the root's prior is drawn
    (Dirichlet, `concentration`).
    Each complete formula is worth its coefficient less `diversity` times its mean similarity to the pool (`unsigned`:
    sizes). `shaping`: "paper" pays the worth, "difference" what it changes; `only_new` pays a canonical form once an
    episode. `end_mode`: the end brings the pool's coefficient ("level") or its rise ("increment").
    The policy follows the episodes above the quantile `risk` of the returns, tracked at `quantile_rate`; `update`:
    "printed" or "centred"; `optimiser`, its `rate`, `entropy`, `gradient` (greatest length, 0: any), `importance`
    (greatest weight of an episode for having been chosen by the tree, 0: off), `batch` episodes a step. Its net has an
    `embedding`, `layers` cells of `width` and layers of `hidden` units; `end_bias` is what the end's logit begins with.
    With `vary_length` the most tokens of an iteration's formulas are drawn, so that short ones are tried in earnest.
    The part `refine` of the trials is not drawn in the tree: each is one step (`mining/elites.py`) from one of the best
    `elites` unlike formulas, paid where it ends and learnt from like all.
    A checkpoint is written every `keep_every` iterations.
    """

    profile: Literal["safe", "paper"] = "safe"
    search: Search | None = None
    simulations: int | None = None
    leaves: int | None = None
    virtual_loss: int | None = None
    exploration: float | None = None
    scaled: bool | None = None
    paper_exact_backup: bool | None = None
    noise: float | None = None
    concentration: float | None = None
    diversity: float | None = None
    shaping: Shaping | None = None
    end_mode: EndMode | None = None
    only_new: bool | None = None
    unsigned: bool | None = None
    risk: float | None = None
    quantile_rate: float | None = None
    update: Update | None = None
    optimiser: Optimiser | None = None
    rate: float | None = None
    entropy: float | None = None
    gradient: float | None = None
    importance: float | None = None
    batch: int | None = None
    layers: int | None = None
    width: int | None = None
    embedding: int | None = None
    hidden: tuple[int, ...] | None = None
    end_bias: float | None = None
    vary_length: bool | None = None
    refine: float | None = None
    elites: int | None = None
    torch_threads: int | None = None
    keep_every: int | None = None

    def __post_init__(self) -> None:
        if self.profile not in PLANS:
            raise DataError("a profile is safe or paper", found=self.profile, where="RiskMiner.profile")
        if self.hidden is not None:
            object.__setattr__(self, "hidden", tuple(self.hidden))
        assert self.plan  # its checks are this one's

    @cached_property
    def plan(self) -> Plan:
        """Every choice, spelt out."""
        given = {field.name: getattr(self, field.name) for field in fields(Plan)}
        return replace(PLANS[self.profile], **{name: value for name, value in given.items() if value is not None})

    def mine(self, session: Session) -> None:
        """Search until the budget is gone; goes on from the session's checkpoint.

        Raises: DataError where the policy needs torch and there is none, and for another miner's checkpoint.
        """
        from alphaloom.mining.riskminer_search import Hunt, Uniform

        if self.plan.search == "tree":
            plain = Uniform(len(session.grammar.tokens), self.plan.end_bias)
            _run(self.plan, session, Hunt(self.plan, session, plain), None)
            return
        try:
            from alphaloom.mining.riskminer_policy import Policy
        except ModuleNotFoundError as missing:
            if missing.name != "torch":
                raise
            fix = "pip install 'alphaloom[deep]', or search='tree'"
            raise DataError("RiskMiner's policy needs torch", found="no torch", where="RiskMiner", fix=fix) from None
        with torch_threads(self.plan.torch_threads):
            policy = Policy(len(session.grammar.tokens), self.plan, session.seed)
            _run(self.plan, session, Hunt(self.plan, session, policy), policy)


def _run(plan: Plan, session: Session, hunt: Hunt, policy: Policy | None) -> None:
    """Iterations until the budget is gone or nothing new is found any more."""
    state = session.restored()
    count, idle, history = 0, 0, list[list[float]]()
    if state:
        if state.get("plan") != repr(plan):
            raise DataError(
                "a checkpoint belongs to one miner",
                found=f"{state.get('plan', 'another')}",
                where=str(session.directory),
                fix="give the same settings, or another directory",
            )
        count, idle, history = int(state["iteration"]), int(state["idle"]), [list(row) for row in state["history"]]
        hunt.recall(state)
        if policy is not None:
            policy.recall(state)
    while not session.spent and idle < _IDLE:
        before = session.evaluations
        episodes = hunt.iteration()
        if session.spent or not episodes:
            break
        idle = 0 if session.evaluations > before else idle + 1
        history.append(_learnt(session, hunt, policy, episodes))
        count += 1
        if count % plan.keep_every == 0:
            session.checkpoint(_state(plan, hunt, policy, count, idle, history))
    session.note()
    session.checkpoint(_state(plan, hunt, policy, count, idle, history))


def _learnt(session: Session, hunt: Hunt, policy: Policy | None, episodes: list[Episode]) -> list[float]:
    """One row of the history; the policy has learnt from the episodes.

    Evaluations, mean and greatest return, mean tokens, divergence of tree and policy; quantile, loss, entropy, length
    of the gradient.
    """
    totals = [episode.total for episode in episodes]
    tokens = sum(len(episode.tokens) for episode in episodes) / len(episodes)
    row = [float(session.evaluations), sum(totals) / len(totals), max(totals), tokens, hunt.divergence()]
    if policy is not None:
        lesson = policy.learn(episodes)
        row += [lesson.quantile, lesson.loss, lesson.entropy, lesson.gradient]
    return row


def _state(
    plan: Plan, hunt: Hunt, policy: Policy | None, count: int, idle: int, history: list[list[float]]
) -> dict[str, Any]:
    found = policy.memory() if policy is not None else {}
    return {**found, **hunt.memory(), "plan": repr(plan), "iteration": count, "idle": idle, "history": history}
