"""Tables as CSV and LaTeX, for papers and spreadsheets."""

from __future__ import annotations

import csv
import io

from experiments.report.blocks import NONE, Cell, Table

_LATEX = {"\\": r"\textbackslash{}", "&": r"\&", "%": r"\%", "$": r"\$", "#": r"\#", "_": r"\_",
          "{": r"\{", "}": r"\}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}",
          "±": r"$\pm$", "\u2013": "--", "∞": r"$\infty$", "ε": r"$\varepsilon$", "≤": r"$\leq$",
          "<": r"\textless{}", ">": r"\textgreater{}", "|": r"\textbar{}"}


def as_csv(table: Table) -> str:
    """Return a table as CSV (RFC 4180): figures at full precision, those beside a figure in columns
    of their own, and figures of no value left empty."""
    out = io.StringIO()
    writer = csv.writer(out)
    writer.writerow([name for column in table.columns for name in (
        column.title, *(f"{column.title} {extra}" for extra in column.extra))])
    for row in table.rows:
        line: list[str] = []
        for column, cell in zip(table.columns, row, strict=True):
            # A text that merely begins with a figure stays a text.
            whole = cell.value is not None and (column.extra or _is_figure(cell))
            line.append(_exact(cell.value) if whole else
                        "" if cell.text == NONE else _harmless(cell.text))
            extra = cell.extra or (None,) * len(column.extra)
            line += [_exact(value) for value in extra]
        writer.writerow(line)
    return out.getvalue()


def _exact(value: float | None) -> str:
    """A figure at full precision; whole ones without a point."""
    if value is None:
        return ""
    return str(int(value)) if float(value).is_integer() else repr(float(value))


def _is_figure(cell: Cell) -> bool:
    try:
        float(cell.text.replace(",", ""))
    except ValueError:
        return False
    return True


def _harmless(text: str) -> str:
    """A spreadsheet takes a text that begins like a formula for one; a quote before it helps."""
    return "'" + text if text[:1] in ("=", "@", "+", "-") and len(text) > 1 else text


def as_latex(table: Table) -> str:
    """Return a table as LaTeX (package booktabs): best values bold, first ones of a group
    underlined."""
    first = [_is_text(table, place) for place in range(len(table.columns))]
    lines = [
        r"% needs \usepackage{booktabs}", r"\begin{table}", r"  \centering",
        rf"  \caption{{{_latex(table.caption)}}}", rf"  \label{{tab:{table.anchor}}}",
        rf"  \begin{{tabular}}{{{''.join('l' if text else 'r' for text in first)}}}",
        r"    \toprule",
        "    " + " & ".join(_latex(c.title) for c in table.columns) + r" \\", r"    \midrule",
        *("    " + " & ".join(_latex_cell(cell) for cell in row) + r" \\" for row in table.rows),
        r"    \bottomrule", r"  \end{tabular}", r"\end{table}",
    ]
    return "\n".join(lines) + "\n"


def _is_text(table: Table, place: int) -> bool:
    return all(row[place].value is None for row in table.rows)


def _latex_cell(cell: Cell) -> str:
    text = _latex(cell.text)
    text = {"best": rf"\textbf{{{text}}}", "first": rf"\underline{{{text}}}", "": text}[cell.mark]
    return text + (" " + _latex(cell.note) if cell.note else "")


def _latex(text: str) -> str:
    return "".join(_LATEX.get(sign, sign) for sign in text)
