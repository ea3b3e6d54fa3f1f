"""The composition root: a config and data make a plan, an algorithm, a stack and a statement.

Whoever plays, deploys, audits or reads a run comes through here, so that all of them mean the same
run by the same config.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from privacy import Dense, Ledger, PrivacyStack, Slotted, Statement, Touched, Vault
from privacy.aggregation.messages import Message, Transcript
from privfedmm.base.errors import UserError
from privfedmm.config.sections import RunConfig
from privfedmm.data.over_catalogue import HOW
from privfedmm.data.types import Dataset
from privfedmm.federation.types import Algorithm
from privfedmm.methods.entry import Build
from privfedmm.mixing.algorithm import MixedPlan, MixedState
from privfedmm.mixing.build import mixed
from privfedmm.privacy_plan.plan import PrivacyPlan, needs_dims, plan
from privfedmm.privacy_plan.stack import build_stack, dims_of, dp_sgd, statement


@dataclass(frozen=True)
class Assembly:
    """These are the parts of a run that do not change while it is played.

    population: the number of clients that the stack is made for.
    """

    config: RunConfig
    plan: PrivacyPlan
    algorithm: Algorithm
    stack: PrivacyStack
    statement: Statement
    population: int


_CARRIED = (Message, Dense, Touched, Slotted)  # of every run: messages and parts of uploads
_TRIES = 4  # plans until the values of an upload and the noise that depends on them agree


def check_items(config: RunConfig, data: Dataset) -> None:
    """Check that a budget's items come from where its config says.

    How many items there are, and every direction of their features, goes to everybody: had rows a
    say in it, that would be a release of its own. Raises UserError for items that were made from
    rows where a public catalogue is promised.
    """
    if config.catalogue_unit and not data.public_items:
        raise UserError(f"dp.catalogue: the items of {data.name} were made from the users' own "
                        f"rows, which tells of them; {HOW}")


def plan_of(config: RunConfig, data: Dataset, population: int | None = None) -> PrivacyPlan:
    """Return sampling, budget, calibrated noise and the method's settled settings.

    Of the data only what is public is used: how many users and items there are, and features.
    population: the number of clients, None for the users of the data. Raises UserError for what
    cannot be promised.
    """
    clients = data.num_users if population is None else population
    features = bool(data.features) and config.algorithm.modalities != "none"
    if not needs_dims(config):
        return plan(config, clients, data.num_items, None, features)
    dims = 1
    for _ in range(_TRIES):
        planned = plan(config, clients, data.num_items, dims, features)
        found = dims_of(config, algorithm_of(config, data, planned))
        if found <= dims:
            return planned
        dims = found
    raise UserError("dp.mechanism: the noise depends on how much a client sends, and that on the "
                    "noise; fix the method's settings that follow from it")


def algorithm_of(
    config: RunConfig, data: Dataset, planned: PrivacyPlan, population: int | None = None
) -> Algorithm:
    """Build the method of a run from its plan.

    population: the number of users of the run, None for those of the data. Raises UserError for
    settings that do not fit.
    """
    entry, dp = config.entry, config.dp
    users = data.num_users if population is None else population
    if config.most_rounds < planned.rounds:
        raise UserError(f"rounds: method {config.method} makes its releases in "
                        f"{planned.rounds - config.mix.rounds} rounds, got {config.rounds}; "
                        "leave --rounds out")
    if config.is_reference and not entry.can.reference:
        raise UserError(f"mode: method {config.method} has no reference implementation that is "
                        "followed; use mode default")
    try:
        build = Build(
            settings=planned.settings, data=data, rounds=planned.rounds - config.mix.rounds,
            seed=config.seed, modalities=config.algorithm.modalities,
            noise_stddev=planned.method_stddev(config, users), portions=planned.own_portions,
            dp_sgd=dp_sgd(config, planned), subspace_rank=dp.subspace_rank if dp else 0)
        return mixed(build, entry.build, config.mix) if config.mix.on else entry.build(build)
    except ValueError as error:
        raise UserError(str(error)) from error


def kinds_of(config: RunConfig) -> tuple[type, ...]:
    """Return the dataclasses that may travel in a run: those of uploads, and those of its
    method."""
    mix = (MixedPlan, MixedState) if config.mix.on else ()
    return (*_CARRIED, *mix, *config.entry.travels(config.method_settings))


def assemble(
    config: RunConfig, data: Dataset, *, planned: PrivacyPlan | None = None,
    population: int | None = None, keep: Callable[[Ledger], None] | None = None,
    vault: Vault | None = None, transcript: Transcript | None = None, budget: bool = True,
) -> Assembly:
    """Build all parts of a run.

    planned: None for `plan_of` this config and the data's users. population: the number of clients
    of the stack, None for all users of the data. keep, vault: make ledger and released sums
    durable. transcript: is told every message of secure aggregation. budget: False for a ledger
    that refuses nothing, for parties whose releases another one charges. Raises UserError for
    settings that do not fit.
    """
    check_items(config, data)
    clients = data.num_users if population is None else population
    if planned is None:
        planned = plan_of(config, data, clients)
    algorithm = algorithm_of(config, data, planned)
    ledger = Ledger((), planned.budget if budget else None, keep)
    stack = build_stack(config, planned, algorithm, clients, ledger, vault, transcript)
    return Assembly(config, planned, algorithm, stack,
                    statement(config, planned, stack, clients), clients)
