"""A noise that no file of the packages knows runs under a config's name, from run to audit."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from privfedmm_example.laplace import LAPLACE

import privfedmm as pf
from privfedmm.mechanisms.noises import NOISES


@pytest.fixture
def laplace() -> Iterator[None]:
    NOISES.register(LAPLACE)
    yield
    NOISES.forget(LAPLACE.name)


@pytest.mark.usefixtures("laplace")
@pytest.mark.parametrize("method", ["popularity", "backbone"])
def test_a_run_with_it_is_priced_and_audited(method: str) -> None:
    run = pf.train("planted:60", method=method, dp_epsilon=4.0, noise="simulation", baselines=[],
                   rounds=1 if method == "popularity" else 2, settings={"dp.mechanism": "laplace"})
    assert set(run.ledger["event"]) == {"CentralLaplace"}
    assert run.epsilon is not None and 3.9 < run.epsilon <= 4.0
    assert "Laplace" in run.statement["reason"]
    found = run.audit(quick=True, seed=1)
    assert found.passed, found.faults
    assert found.empirical["passed"]
    assert set(found.empirical["bounds_verdict"]) == {"one_run"}


def test_an_unknown_one_is_refused_with_those_there_are() -> None:
    known = r"dp\.mechanism: there is no noise 'laplace'; .*gaussian"
    with pytest.raises(pf.UserError, match=known):
        pf.train("planted:60", dp_epsilon=2.0, settings={"dp.mechanism": "laplace"})
