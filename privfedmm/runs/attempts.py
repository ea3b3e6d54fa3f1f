"""What becomes of a run whose round was aborted: another attempt, another round, or the end."""

from __future__ import annotations

from privacy import NotPrepared, OpeningFailed, RoundAborted, RoundLost, RoundNotBegun
from privfedmm.runs.session import Session


def goes_on(session: Session, error: RoundAborted) -> bool:
    """Return whether the run goes on by itself after an aborted round, which was charged unless it
    was not begun.

    It does while there are attempts that the plan has put by (`dp.spare_rounds`): the round is
    tried again, and one that is lost for good is skipped. An opening that could be asked for once
    more is left as it is, for whoever resumes the run when the nodes are back.
    """
    spare = session.planned.spare
    if isinstance(error, NotPrepared) and session.unprepared < spare:
        session.unprepared += 1
        return True
    if isinstance(error, RoundNotBegun | OpeningFailed) or not spare:
        return False
    if session.stack.ledger.aborted() > spare:
        return False
    return session.skip() if isinstance(error, RoundLost) else True
