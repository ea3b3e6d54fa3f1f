"""What a search may change: one setting, and the values that it may have."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from privfedmm.base.errors import UserError
from privfedmm.base.values import value_of
from privfedmm.config.explain import Setting, explain

_DATA = "it changes the data or what is held out of it, so that looks would not compare"
_PROMISE = "it is part of what is promised, and no metric may choose that"
_NO_METRIC = "no metric follows from it"
_REFUSED = {
    **dict.fromkeys(("dataset", "k_core", "split_seed", "max_users", "cold_items", "drop_features",
                     "encoders", "columns", "min_rating", "duplicates", "split"), _DATA),
    "evaluation": "it changes how a run is judged, so that looks would not compare",
    "seed": "the best of several seeds is luck, which the next run does not have",
    **dict.fromkeys(("dp.epsilon", "dp.delta", "dp.unit", "dp.trust", "dp.noise", "dp.catalogue"),
                    _PROMISE),
    **dict.fromkeys(("label", "series", "threads", "baselines", "tuned"), _NO_METRIC),
}
_NUMBERS = ("number", "whole number")
_BOTH = "true or false"


@dataclass(frozen=True, kw_only=True)
class Parameter:
    """This is one setting that a search changes.

    path: its dotted path. choices: its values, or none where it is a number from `low` to `high`.
    whole: whether that number is whole. log: whether the search takes its logarithm.
    """

    path: str
    choices: tuple[Any, ...] = ()
    low: float = 0.0
    high: float = 0.0
    whole: bool = False
    log: bool = False

    @classmethod
    def parse(cls, text: str, method: str) -> Parameter:
        """Return what PATH=LOW..HIGH, PATH=LOW..HIGH:log, PATH=A,B,C or a mere PATH means.

        A mere path takes all values of a setting that has few. method: the run's, whose own
        settings are in the section `settings`. Raises UserError with what to write.
        """
        path, equals, values = (part.strip() for part in text.partition("="))
        setting = _setting(path, method)
        numeric = [kind for kind in _NUMBERS if kind in setting.type.split(" or ")]
        if not equals:
            return cls(path=path, choices=_all(setting))
        if ".." not in values:
            return cls(path=path, choices=_choices(path, values))
        if not numeric:
            raise UserError(f"--param {path}: {setting.type} has no values between two others; "
                            f"write its values with commas: {path}=A,B,C")
        return cls(path=path, **_between(path, values, whole=numeric == ["whole number"]))

    def ends(self) -> tuple[Any, ...]:
        """Return the values that have to be allowed, for all others to be."""
        if self.choices:
            return self.choices
        return (int(self.low), int(self.high)) if self.whole else (self.low, self.high)

    def distribution(self) -> Any:
        """Return what Optuna draws it from."""
        from optuna import distributions

        if self.choices:
            # Optuna keeps plain values alone; a list is drawn by its place.
            return distributions.CategoricalDistribution(tuple(range(len(self.choices))))
        if self.whole:
            return distributions.IntDistribution(int(self.low), int(self.high), log=self.log)
        return distributions.FloatDistribution(self.low, self.high, log=self.log)

    def value(self, drawn: Any) -> Any:
        """Return the setting's value of what was drawn."""
        return self.choices[drawn] if self.choices else drawn


def _setting(path: str, method: str) -> Setting:
    for refused, why in _REFUSED.items():
        if path == refused or path.startswith(f"{refused}."):
            raise UserError(f"--param {path}: {why}; leave it out")
    own = path.startswith("settings.")
    try:
        found = explain(method + path.removeprefix("settings") if own else path)
    except UserError as error:
        raise UserError(str(error).replace("config explain", "--param", 1)) from error
    if found[0].section:
        inner = ", ".join(s.path for s in found[1:6])
        raise UserError(f"--param {path}: it is a section; name one setting of it: {inner}, ...")
    return found[0]


def _all(setting: Setting) -> tuple[Any, ...]:
    if setting.type == _BOTH:
        return (True, False)
    named = tuple(part.strip() for part in setting.type.split("|"))
    if len(named) < 2:
        raise UserError(f"--param {setting.path}: say between which values, as {setting.path}="
                        f"LOW..HIGH, or which, as {setting.path}=A,B,C")
    return named


def _choices(path: str, values: str) -> tuple[Any, ...]:
    found = tuple(value_of(part.strip()) for part in values.split(",") if part.strip())
    if len(found) < 2 or len({repr(v) for v in found}) < len(found):
        raise UserError(f"--param {path}: give two different values or more, as {path}=A,B,C, or "
                        f"two ends, as {path}=LOW..HIGH")
    return found


def _between(path: str, values: str, whole: bool) -> dict[str, Any]:
    span, _, how = values.partition(":")
    try:
        low, high = (float(end) for end in span.split(".."))
    except ValueError as error:
        raise UserError(f"--param {path}: {span!r} is no two numbers; write {path}=1e-3..1e-1"
                        ) from error
    if how not in ("", "log"):
        raise UserError(f"--param {path}: there is no {how!r}; after a colon stands log or nothing")
    if not (math.isfinite(low) and math.isfinite(high) and low < high):
        raise UserError(f"--param {path}: {low:g}..{high:g} must go from a number to a larger one")
    if whole and not (low.is_integer() and high.is_integer()):
        raise UserError(f"--param {path}: it is a whole number; write whole ends")
    if how == "log" and low <= 0:
        raise UserError(f"--param {path}: a logarithm needs a lower end above 0, got {low:g}")
    return {"low": low, "high": high, "whole": whole, "log": how == "log"}
