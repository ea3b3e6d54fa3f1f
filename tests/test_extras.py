"""A plain installation lacks some libraries: what needs one says which, and nothing else does."""

from __future__ import annotations

import subprocess
import sys

import pytest

from privacy.extras import MissingExtra, check, need

_HIDE = """
import importlib.abc, importlib.util, sys
class Hidden(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {absent!r}:
            raise ModuleNotFoundError(name, name=name)
sys.meta_path.insert(0, Hidden())
given = importlib.util.find_spec
importlib.util.find_spec = lambda n, *a: None if n.partition(".")[0] in {absent!r} else given(n, *a)
sys.argv = ["privfedmm", *{arguments!r}]
from experiments.cli import main
main()
"""
ABSENT = ("flwr", "tenseal", "transformers", "opacus", "httpx", "uvicorn", "implicit", "optuna",
          "tensorboard", "mlflow", "wandb")


def without(*arguments: str) -> subprocess.CompletedProcess[str]:
    """The command line where none of the optional libraries can be found."""
    code = _HIDE.format(absent=ABSENT, arguments=arguments)
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)


@pytest.mark.slow
def test_the_main_job_and_its_audit_need_none_of_them(tmp_path_factory: pytest.TempPathFactory
                                                      ) -> None:
    out = str(tmp_path_factory.mktemp("plain") / "run")
    done = without("run", "--dataset", "planted:60", "--dp-epsilon", "2", "--aggregation", "masked",
                   "--set", 'baselines=["popularity"]', "--out", out)
    assert done.returncode == 0, done.stderr
    audited = without("audit", out, "--parts", "budget", "--json")
    assert audited.returncode == 0, audited.stderr
    assert "pip install 'privfedmm[dpsgd]'" in audited.stdout
    grouped = out + "2"  # whose first round has statistics of groups, which could be encrypted
    done = without("run", "--dataset", "planted:60", "--rounds", "1", "--set", "baselines=[]",
                   "--out", grouped)
    assert done.returncode == 0, done.stderr
    whole = without("audit", grouped, "--verbose")
    assert whole.returncode == 0, whole.stderr
    assert "encrypted not attacked" in whole.stderr.replace("\n", " ")
    assert "pip install 'privfedmm[encrypted]'" in whole.stderr.replace("\n", " ")


@pytest.mark.slow
def test_ways_of_summing_that_are_not_installed_are_left_out(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    out = str(tmp_path_factory.mktemp("ways") / "out")
    asked = ("compare", "--dataset", "planted:60", "--rounds", "1", "--dropouts", "")
    done = without(*asked, "--out", out)
    assert done.returncode == 0, done.stderr
    said = done.stderr.replace("\n", " ")
    assert "encrypted is left out" in said and "pip install 'privfedmm[encrypted]'" in said
    assert "masked" in done.stdout and "| encrypted |" not in done.stdout
    refused = without(*asked, "--out", out + "2", "--modes", "plain,encrypted")
    assert refused.returncode == 2 and "needs the package tenseal" in refused.stderr
    assert "plain: run" not in refused.stderr, "before anything is played"


@pytest.mark.slow
@pytest.mark.parametrize(("arguments", "package", "extra"), [
    (("deploy", "local", "--dataset", "planted:36"), "flwr", "deploy"),
    (("run", "--dataset", "planted:60", "--group-statistics", "encrypted", "--rounds", "1"),
     "tenseal", "encrypted"),
    (("tune", "--dataset", "planted:60", "--param", "algorithm.local.epochs=1..2"), "optuna",
     "tune"),
    (("run", "--dataset", "planted:60", "--log", "wandb"), "wandb", "wandb"),
])
def test_what_needs_one_says_which(
    tmp_path: object, arguments: tuple[str, ...], package: str, extra: str
) -> None:
    done = without(*arguments, "--out", f"{tmp_path}/run")
    assert done.returncode == 2, done.stderr
    last = done.stderr.strip().splitlines()[-1]
    assert f"needs the package {package}" in last and f"'privfedmm[{extra}]'" in last


def test_help_waits_for_none_of_the_heavy_libraries() -> None:
    code = ("import sys; sys.argv = ['privfedmm', '--help']\n"
            "from experiments.cli import main\n"
            "try: main()\nexcept SystemExit: pass\n"
            "print([n for n in ('torch', 'numpy', 'pandas', 'flwr', 'scipy') if n in sys.modules])")
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip().splitlines()[-1] == "[]"


def test_a_module_that_is_there_is_imported() -> None:
    assert need("json", "none", "nothing").dumps([]) == "[]"
    with pytest.raises(MissingExtra, match=r"x needs the package no_such_thing.*privfedmm\[y\]"):
        check("no_such_thing.part", "y", "x")
