"""Exit codes of the command line, and the errors that carry them."""

from __future__ import annotations

BAD_INPUT, PRIVACY_VIOLATION, ABORTED, INTERRUPTED = 2, 3, 4, 130


class UserError(Exception):
    """This error is a mistake of the user that can be mended: one sentence, and the exit code."""

    def __init__(self, sentence: str, code: int = BAD_INPUT) -> None:
        super().__init__(sentence)
        self.code = code
