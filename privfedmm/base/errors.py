"""Exit codes of the command line, and the errors that carry them."""

from __future__ import annotations

BAD_INPUT, PRIVACY_VIOLATION, ABORTED, INTERRUPTED = 2, 3, 4, 130


class UserError(Exception):
    """The user made a mistake that can be mended: one sentence, and the exit code it ends with."""

    def __init__(self, sentence: str, code: int = BAD_INPUT) -> None:
        super().__init__(sentence)
        self.code = code
