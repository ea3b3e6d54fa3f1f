"""What a method declares of itself, so that nothing else has to know it by name."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from privacy import EVEN, OnDevice, Portions
from privfedmm.base.settings import Settings
from privfedmm.data.types import Dataset
from privfedmm.federation.types import Algorithm


@dataclass(frozen=True)
class Can:
    """Declares the capabilities of a method; whoever needs one asks here, never for a name.

    federated: something leaves the clients. user_unit: its releases can be clipped and noised so
    that one user's whole data is protected. interaction_unit: its devices can train with noise on
    every example. groups: users may be in groups. cold_items: it scores items that nobody has
    trained. explains: `explain` gives more than one part. adaptive_clip: its uploads have norms of
    their own, to which a clip can adapt. public_subspace: its item update can be projected onto
    public directions. reference: it has a mode that follows a reference implementation. deployed:
    its state travels, so that it runs on nodes.
    """

    federated: bool = True
    user_unit: bool = True
    interaction_unit: bool = False
    groups: bool = False
    cold_items: bool = False
    explains: bool = False
    adaptive_clip: bool = True
    public_subspace: bool = False
    reference: bool = False
    deployed: bool = True

    def words(self) -> list[str]:
        """Return the names of the capabilities that are there, in the order of the fields."""
        return [name for name, there in vars(self).items() if there]


@dataclass(frozen=True)
class Asked:
    """Holds what a config asks for before its defaults are known.

    values: the settings that were given, nested. private: whether there is a `dp` section. secure:
    whether something is summed so that its senders stay hidden. reference: whether the mode is
    `reference`.
    """

    values: Mapping[str, Any]
    private: bool
    secure: bool
    reference: bool

    def given(self, *path: str) -> Any:
        """Return the given value at a path, None where it was not given."""
        found: Any = self.values
        for key in path:
            if not isinstance(found, Mapping):
                return None
            found = found.get(key)
        return found


@dataclass(frozen=True)
class Public:
    """Holds what is public before the first round, and may settle a method's settings.

    users, items: how many there are. noise_stddev: the absolute standard deviation of the noise on
    a sum of joint vectors of clip norm 1 in a cohort of which nobody vanishes, on an even split of
    the budget between `rounds`; 0 without noise. rounds: the number of rounds that the method may
    have, those before its training among them. features: whether the run uses any.
    """

    users: int
    items: int
    noise_stddev: float
    rounds: int
    features: bool = True


@dataclass(frozen=True, kw_only=True)
class Build:
    """Holds all that a method may build its algorithm from.

    settings: the method's own settings, settled. modalities: `all`, `none` or names, of the
    features that the run may use (privfedmm.base.features.select). noise_stddev: the same as in
    `Public`, of an even split. portions: how the budget is split between the rounds. dp_sgd: the
    noise of each device's training under unit interaction, else None. subspace_rank: the number of
    public directions that an item update is confined to, 0 for none.
    """

    settings: Any
    data: Dataset
    rounds: int
    seed: int
    modalities: str | tuple[str, ...] = "all"
    noise_stddev: float = 0.0
    portions: Portions = EVEN
    dp_sgd: OnDevice | None = None
    subspace_rank: int = 0


def _no_defaults(asked: Asked) -> dict[str, Any]:
    return {}


def _as_set(settings: Any, public: Public) -> tuple[Any, int]:
    return settings, public.rounds


def _none_before(settings: Any) -> int:
    return 0


def _evenly(settings: Any, rounds: int) -> Sequence[float]:
    return ()


def _nothing_told(settings: Any, public: Public) -> str:
    return ""


def _untimed(settings: Any, timed: bool) -> Any:
    return settings


def _one_step(settings: Any) -> int:
    return 1


def _no_types(settings: Any) -> tuple[type, ...]:
    return ()


def _no_parts(settings: Any) -> dict[str, str]:
    return {}


@dataclass(frozen=True, kw_only=True)
class Method:
    """Describes a federated method, as `privfedmm.methods` registers it.

    summary: one line about it. reference: the paper and the equation. settings: the model of its
    own settings, which a config holds in `section` (of methods from elsewhere: `settings`). reads:
    the paths in it that this method looks at, where it shares the model with another that looks at
    more; empty for all. build: makes the algorithm; raises ValueError for settings that do not fit
    the data. can: its capabilities.

    defaults: returns config values under those that were given, by what is asked for (plain,
    private, secure). settle: decides settings and rounds by public quantities alone. before:
    returns how many rounds of releases there may be before those that `rounds` counts. portions:
    returns the shares of a budget that its rounds get, empty for an even split. told: returns what
    was settled, and why, in a sentence. timed: decides settings by whether the data has times.
    device_steps: returns the number of noisy training steps of a device in a round, under unit
    interaction. travels: returns the dataclasses of plan, state
    and clients that messages may hold (`privfedmm.federation.codec`). parts: returns the registered
    parts it is made of, kind -> name, for records.
    """

    name: str
    summary: str
    settings: type[Settings]
    build: Callable[[Build], Algorithm]
    reference: str = ""
    section: str = "settings"
    reads: tuple[str, ...] = ()
    can: Can = field(default_factory=Can)
    defaults: Callable[[Asked], dict[str, Any]] = _no_defaults
    settle: Callable[[Any, Public], tuple[Any, int]] = _as_set
    before: Callable[[Any], int] = _none_before
    portions: Callable[[Any, int], Sequence[float]] = _evenly
    told: Callable[[Any, Public], str] = _nothing_told
    timed: Callable[[Any, bool], Any] = _untimed
    device_steps: Callable[[Any], int] = _one_step
    travels: Callable[[Any], tuple[type, ...]] = _no_types
    parts: Callable[[Any], dict[str, str]] = _no_parts
