"""What `tune --param` takes, and what it refuses."""

from __future__ import annotations

from typing import Any

import pytest

from privfedmm.base.errors import UserError
from privfedmm.tuning import Parameter, Search


@pytest.mark.parametrize(("text", "ends", "whole", "log"), [
    ("algorithm.local.lr_user=1e-3..1e-1:log", (1e-3, 1e-1), False, True),
    ("algorithm.local.epochs=1..5", (1, 5), True, False),
    ("dp.clip_norm = 0.5..2", (0.5, 2.0), False, False),
    ("algorithm.local.epochs=1,3,5", (1, 3, 5), False, False),
    ("algorithm.model.backbone=mf,fedrap", ("mf", "fedrap"), False, False),
    ("dp.sampling", ("everyone", "poisson", "fixed"), False, False),
    ("algorithm.local.lr_items_times_items", (True, False), False, False),
])
def test_a_setting_and_its_values(text: str, ends: tuple[Any, ...], whole: bool, log: bool) -> None:
    found = Parameter.parse(text, "gfmfr")
    assert (found.ends(), found.whole, found.log) == (ends, whole, log)
    assert all(type(a) is type(b) for a, b in zip(found.ends(), ends, strict=True))


@pytest.mark.parametrize(("text", "words"), [
    ("algorithm.local.lr=1..2", "there is no setting 'algorithm.local.lr'"),
    ("algorithm.local=1..2", r"it is a section; name one setting of it: algorithm\.local\."),
    ("algorithm.local.lr_user", "say between which values"),
    ("algorithm.local.lr_user=1e-1..1e-3", "to a larger one"),
    ("algorithm.local.lr_user=0..1:log", "a lower end above 0"),
    ("algorithm.local.lr_user=0..1:lin", "there is no 'lin'"),
    ("algorithm.local.lr_user=a..b", "is no two numbers"),
    ("algorithm.local.lr_user=0.1", "two different values or more"),
    ("algorithm.local.epochs=1.5..3", "write whole ends"),
    ("algorithm.model.backbone=a..b", "write its values with commas"),
    ("k_core=1..5", "changes the data"),
    ("split", "changes the data"),
    ("evaluation.sampled_negatives=0,100", "how a run is judged"),
    ("seed=0..9", "is luck"),
    ("dp.epsilon=1..8", "no metric may choose that"),
])
def test_what_cannot_be_searched_is_a_sentence(text: str, words: str) -> None:
    with pytest.raises(UserError, match=words) as refused:
        Parameter.parse(text, "gfmfr")
    assert str(refused.value).startswith("--param")


FLAGS: dict[str, Any] = {"dataset": "planted:60", "algorithm.local.epochs": 2}


@pytest.mark.parametrize(("texts", "more", "words"), [
    ((), {}, "give a setting to choose"),
    (("rounds=1..3", "rounds=4,5"), {}, "rounds: it is given twice"),
    (("algorithm.local.epochs=1..3",), {}, "epochs: it is given twice"),
    # Its ends are those that the setting itself allows.
    (("algorithm.local.lr_user=-1..1",), {}, r"lr_user: .*greater than"),
    (("algorithm.model.backbone=mf,nope",), {}, "nope"),
    (("dp.clip_norm=1..2",), {}, "give --dp-epsilon as well"),
    (("rounds=1..3",), {"metric": "test ndcg@50"}, "--metric: there is no metric 'test ndcg'; "),
    (("rounds=1..3",), {"trials": 0}, "must be 1 or more"),
])
def test_a_search_is_checked_before_it_begins(
    texts: tuple[str, ...], more: dict[str, Any], words: str
) -> None:
    with pytest.raises(UserError, match=words):
        Search(flags=FLAGS, texts=texts, **more)
