"""What a run's beacon is drawn from: the server gathers parts, and keeps the first that are enough.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from privacy import ProtocolError
from privacy.aggregation.deployed import Agreed
from privacy.crypto.beacon import check
from privfedmm.federation.openings import Journal


class Drawing:
    """Holds the nodes' parts of the beacon that the run's mask graphs are drawn from.

    journal: where the parts are written before a node is told, so that a resumed run goes on with
    them. A part that is shown later is in no beacon.
    """

    def __init__(self, agreed: Agreed, journal: Journal) -> None:
        self._agreed, self._journal = agreed, journal
        self._shown: dict[str, bytes] = {}

    def show(self, parts: Mapping[str, bytes]) -> list[str]:
        """Take the parts that a node shows, and return why some are refused.

        A part is proved by its commitment, whoever brings it.
        """
        refused = []
        for party, part in parts.items():
            try:
                check(self._agreed.run, self._agreed.commitments, party, part)
            except ProtocolError as error:
                refused.append(str(error))
            else:
                self._shown[party] = part
        return refused

    def parts(self) -> Mapping[str, bytes]:
        """Return what the beacon is drawn from: all parts that are there once they are enough.

        Raises ProtocolError while there are too few.
        """
        last = self._journal.get()
        assert last is not None, "an attempt is written down before it is prepared"
        if not last.parts:
            self._agreed.beacon(self._shown)
            last = replace(last, parts=dict(self._shown))
            self._journal.put(last)
        return last.parts

    def beacon(self) -> bytes:
        """Return the beacon [32]. Raises ProtocolError while there is none."""
        return self._agreed.beacon(self.parts())
