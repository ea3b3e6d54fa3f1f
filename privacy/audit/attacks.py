"""Attack what an adversary saw, by pure functions of arrays.

Rows stand for items, a client's truth marks the rows that are to stay secret (its interactions).
Every attack gives scores, decisions and truth of the same length; `measure` turns them to figures.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from privacy.audit.counts import AuditError


@dataclass(frozen=True)
class Attack:
    """Hold the outcome of an attack, one entry a row.

    scores [n]: higher is more likely true. guess [n] bool: what was decided. truth [n] bool. unit
    [n] int: the user behind each row.
    """

    scores: np.ndarray
    guess: np.ndarray
    truth: np.ndarray
    unit: np.ndarray


def _attack(scores: np.ndarray, guess: np.ndarray, truth: np.ndarray) -> Attack:
    """From [clients, rows] arrays."""
    if not scores.shape == guess.shape == truth.shape or truth.dtype != bool:
        raise AuditError(f"truth must be bool of shape {scores.shape}, got {truth.dtype} of "
                         f"{truth.shape}")
    unit = np.broadcast_to(np.arange(len(truth))[:, None], truth.shape)
    return Attack(scores.reshape(-1), guess.reshape(-1), truth.reshape(-1), unit.reshape(-1))


def _row_norms(rows: np.ndarray) -> np.ndarray:
    if rows.ndim != 3:
        raise AuditError(f"expected [clients, rows, width], got shape {rows.shape}")
    return np.linalg.norm(rows.astype(np.float64), axis=2)


def touched_rows(updates: np.ndarray, truth: np.ndarray) -> Attack:
    """Find which rows of a client's own upload changed; updates [clients, rows, width], truth
    [clients, rows] bool.

    Truth may be the rows trained on, or the interactions alone, among which sampled negatives
    hide (Chai et al. 2021, "Secure federated matrix factorization", section 4).
    """
    norms = _row_norms(updates)
    return _attack(norms, norms > 0, truth)


def signed_rows(updates: np.ndarray, truth: np.ndarray) -> Attack:
    """Find interactions among touched rows: gradients of positives and negatives point opposite
    ways. updates [clients, rows, width], truth [clients, rows] bool.

    Rows are projected on their leading direction; the side with fewer rows is taken for the
    positives, since negatives are sampled several to one.
    """
    scores, guess = np.zeros(truth.shape), np.zeros(truth.shape, dtype=bool)
    for client, rows in enumerate(updates.astype(np.float64)):
        touched = np.flatnonzero((rows != 0).any(1))
        if len(touched):
            along = _oriented(rows[touched] @ _leading(rows[touched]))
            scores[client, touched], guess[client, touched] = along, along > 0
            scores[client, (rows == 0).all(1)] = along.min() - 1.0
    return _attack(scores, guess, truth)


def row_geometry(updates: np.ndarray, truth: np.ndarray, steps: int = 10) -> Attack:
    """Find interactions from the angles between uploaded rows alone, whatever their lengths.
    updates [clients, rows, width], truth [clients, rows] bool.

    Spherical two-means of a client's touched rows, from the sides of their leading direction; the
    smaller cluster is taken for the positives. In the manner of PubPara (TOIS 2025), which
    clusters the public parameters that a client uploads; not its published algorithm.
    """
    scores, guess = np.full(truth.shape, -3.0), np.zeros(truth.shape, dtype=bool)
    for client, rows in enumerate(updates.astype(np.float64)):
        norms = np.linalg.norm(rows, axis=1)
        touched = np.flatnonzero(norms > 0)
        if len(touched) < 2:
            continue
        unit = rows[touched] / norms[touched, None]
        side = _oriented(unit @ _leading(unit)) > 0
        gap = np.zeros(len(touched))
        for _ in range(steps):
            if side.all() or not side.any():
                break
            gap = unit @ (_centre(unit[side]) - _centre(unit[~side]))
            if ((gap > 0) == side).all():
                break
            side = gap > 0
        if side.mean() > 0.5:
            side, gap = ~side, -gap
        scores[client, touched], guess[client, touched] = gap, side
    return _attack(scores, guess, truth)


def _leading(rows: np.ndarray) -> np.ndarray:
    return np.linalg.svd(rows, full_matrices=False)[2][0]


def _oriented(along: np.ndarray) -> np.ndarray:
    return along if (along > 0).mean() <= 0.5 else -along


def _centre(unit: np.ndarray) -> np.ndarray:
    mean = unit.mean(0)
    return mean / max(float(np.linalg.norm(mean)), 1e-12)


def _most(scores: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """As many rows guessed as are true, the highest first: the adversary knows how many."""
    rank = np.argsort(np.argsort(-scores, axis=1, kind="stable"), axis=1, kind="stable")
    return rank < truth.sum(1)[:, None]


def rows_in_sum(
    released: np.ndarray, reference: np.ndarray, truth: np.ndarray, shorter: bool = False
) -> Attack:
    """Find interactions of target users in a released sum: rows that stand out of a reference.

    shorter: true rows are looked for among the short ones. An item that its users like in part is
    pulled both ways, and its row in the sum is shorter than that of an item nobody likes.

    released and reference [rows, width]; truth [targets, rows]. reference: what the adversary
    expects without the target (zero, the release before, a sum of its own clients). As many rows
    are guessed as the target has, which favours the adversary.
    """
    norms = _row_norms((released.astype(np.float64) - reference)[None])
    scores = np.broadcast_to(-norms if shorter else norms, truth.shape)
    return _attack(scores, _most(scores, truth), truth)


def rows_in_difference(with_user: np.ndarray, without: np.ndarray, truth: np.ndarray) -> Attack:
    """Find interactions of a user who was in one release and not in the other.

    with_user, without [targets, rows, width], a pair of releases a target; truth [targets, rows].
    """
    scores = _row_norms(with_user.astype(np.float64) - without)
    return _attack(scores, _most(scores, truth), truth)


def presence(
    later: np.ndarray, earlier: np.ndarray, updates: np.ndarray, truth: np.ndarray
) -> Attack:
    """Tell whether a user whose update is known took part in the later release and not the earlier.

    later, earlier, updates [trials, dims]; truth [trials] bool. Score: the part of the difference
    along the update, in its lengths; guessed where it is above one half. Raises AuditError for an
    update that is zero.
    """
    lengths = (updates.astype(np.float64) ** 2).sum(1)
    if not (lengths > 0).all():
        raise AuditError("presence: an update is zero, and leaves no trace to look for")
    scores = ((later.astype(np.float64) - earlier) * updates).sum(1) / lengths
    return _attack(scores[:, None], scores[:, None] > 0.5, truth[:, None])


def group_from_support(observed: np.ndarray, groups: np.ndarray) -> Attack:
    """Guess a client's group from the slot of its upload that carries most.

    observed [clients, slots, ...], as the server sees it; groups [clients] int.
    """
    energy = (observed.astype(np.float64).reshape(*observed.shape[:2], -1) ** 2).sum(2)
    return _attack(energy, _first(energy), _one_hot(groups, observed.shape[1]))


def group_from_size(
    sizes: np.ndarray, groups: np.ndarray, known: np.ndarray, slots: int
) -> Attack:
    """Guess a client's group from the size of its message, by the mean sizes of known clients'
    groups.

    sizes, groups [clients]; known [clients] bool: colluders, who are left out of the result.
    Raises AuditError where a group has no known client.
    """
    counts = np.bincount(groups[known], minlength=slots)
    if (counts == 0).any():
        raise AuditError("group_from_size: every group needs a known client")
    means = np.bincount(groups[known], weights=sizes[known].astype(float), minlength=slots) / counts
    scores = -np.abs(sizes[~known, None].astype(float) - means)
    return _attack(scores, _first(scores), _one_hot(groups[~known], slots))


def _first(scores: np.ndarray) -> np.ndarray:
    """The best slot; nothing where all are equal, since then nothing is known."""
    guess = np.zeros(scores.shape, dtype=bool)
    guess[np.arange(len(scores)), scores.argmax(1)] = True
    return guess & (scores.max(1) > scores.min(1))[:, None]


def _one_hot(groups: np.ndarray, slots: int) -> np.ndarray:
    return np.asarray(groups[:, None] == np.arange(slots), dtype=bool)
