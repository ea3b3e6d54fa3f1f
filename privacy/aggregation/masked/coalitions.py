"""The coalition table of masked sums: who must conspire to read one client, and with what chance.
"""

from __future__ import annotations

from privacy.aggregation.masked.tolerance import Choice, Tolerance
from privacy.aggregator import Coalition

_NOTHING = "nothing"
_ANY = "every other client's vector"
# A chance that is called certain, and one that is worth a row of its own.
_CERTAIN, _HALF = 1 - 1e-9, 0.5


def coalitions_of(tolerance: Tolerance, clients: int) -> tuple[Coalition, ...]:
    """Return the table for cohorts of so many clients, numbered from 0.

    Chances are of one attempt and one chosen client that no member of the coalition owns, over the
    draw of the graph. Where the server has beacons to choose from, it is taken to find the one that
    suits it: rows are chosen by the sum of their chances. Raises IntolerableError where no graph
    bears what is asked.
    """
    cohort = tuple(range(clients))
    choice, held = tolerance.choice(cohort), tolerance.owners.held(cohort)
    rows = [Coalition(*row) for row in _server_alone(tolerance)]
    largest = max(len(held) - 1, 0)
    # The most that the plan covers, then the least that has an even chance, then a certain one.
    counts = [_covered(held, choice.colluding)]
    for chance in (_HALF, _CERTAIN):
        bits = tolerance.grinding_bits if chance < _CERTAIN else 0.0
        counts.append(next((j for j in range(counts[0] + 1, largest + 1)
                            if _reads(tolerance, clients, sum(held[:j]), choice)
                            >= chance * 2.0**-bits), largest))
    for count in sorted({c for c in counts if 0 < c <= largest}):
        chance = _reads(tolerance, clients, sum(held[:count]), choice)
        who = _named(tolerance, count, sum(held[:count]))
        rows.append(Coalition(who, _words(chance, tolerance)))
    if not largest:
        rows.append(Coalition("the server and the one owner", "all clients are that owner's"))
    return tuple(rows)


def _reads(tolerance: Tolerance, clients: int, colluding: int, choice: Choice) -> float:
    # All but one are beyond any protocol: what is left of the sum is the last one's vector.
    return 1.0 if colluding >= clients - 1 else tolerance.reads(clients, colluding, choice)


def _covered(held: list[int], colluding: int) -> int:
    """How many owners, the largest first, the planned number of colluding clients covers."""
    count = 0
    while count < len(held) and sum(held[:count + 1]) <= colluding:
        count += 1
    return count


def _server_alone(tolerance: Tolerance) -> list[tuple[str, str]]:
    if tolerance.active_server:
        return [("the server alone, whatever it tells to whom", _NOTHING)]
    return [("the server alone, telling all clients the same", _NOTHING),
            ("the server alone, telling clients different lists of survivors", _ANY)]


def _named(tolerance: Tolerance, count: int, clients: int) -> str:
    if tolerance.owners.sizes is None:
        return f"the server and {count} client{'s' * (count > 1)}, whichever they are"
    return (f"the server and any {count} owner{'s' * (count > 1)} "
            f"(at most {clients} clients)")


def _words(chance: float, tolerance: Tolerance) -> str:
    if chance >= _CERTAIN:
        return _ANY
    if not chance:
        return _NOTHING
    bits = tolerance.grinding_bits
    if chance < 2.0**-(tolerance.failure_bits + bits):
        return f"{_NOTHING}, but with a chance below 2^-{tolerance.failure_bits:g}"
    many = f"{tolerance.beacons}" if bits < 20 else f"about 2^{bits:.0f}"
    each = f" by each of {many} beacons" if bits else ""
    return f"a chosen client's vector, with a chance of {chance:.2g}{each}"
