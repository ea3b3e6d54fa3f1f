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


@pytest.mark.usefixtures("laplace")
@pytest.mark.parametrize(("settings", "sentence"), [
    ({"dp.trust": "local"},
     r"dp\.trust: laplace noise is not known for trust local; give trust central, or another"),
    ({"dp.trust": "distributed", "aggregation": "masked"},
     r"dp\.trust: laplace noise is not known for trust distributed; give trust central"),
    ({"dp.unit": "interaction"},
     r"dp\.mechanism: unit interaction adds gaussian noise in each training step, no laplace"),
    ({"dp.clipping": "adaptive"},
     r"dp\.clipping: laplace noise does not combine with that on the clients' clip bits"),
])
def test_where_it_is_not_known_it_is_refused_before_anything_else_is_asked(
    settings: dict[str, str], sentence: str
) -> None:
    with pytest.raises(pf.UserError, match=sentence):
        pf.train("planted:60", method="backbone", dp_epsilon=4.0,
                 settings={"dp.mechanism": "laplace", **settings})


def test_an_unknown_one_is_refused_with_those_there_are() -> None:
    known = r"dp\.mechanism: there is no noise 'laplace'; .*gaussian"
    with pytest.raises(pf.UserError, match=known):
        pf.train("planted:60", dp_epsilon=2.0, settings={"dp.mechanism": "laplace"})
