"""Parts of the specification's validation answers (scale 1): the number of rows, and what the first row must hold.

They show that the queries are the specified ones. Texts are looked for in the first row as Python prints it.
Where versions of the generator disagree (None), the number of rows is not checked.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

ANSWERS: dict[str, tuple[int | None, tuple[str, ...]]] = {
    "q01": (4, ("'A', 'F'", "37734107.00", "56586554400.73", "1478493")),
    "q02": (100, ("9938.53", "Supplier#000005359", "UNITED KINGDOM", "185358")),
    "q03": (10, ("2456423", "406181.01", "1995, 3, 5")),
    "q04": (5, ("1-URGENT", "10594")),
    "q05": (5, ("INDONESIA", "55502041.16")),
    "q06": (1, ("123141078.22",)),
    "q07": (4, ("'FRANCE', 'GERMANY', 1995", "54639732.73")),
    "q08": (2, ("1995", "0.0344")),
    "q09": (175, ("ALGERIA", "1998", "27136900.18")),
    "q10": (20, ("57040", "Customer#000057040", "734235.24")),
    "q11": (1048, ("129760", "17538456.86")),
    "q12": (2, ("MAIL", "6202", "9324")),
    "q13": (None, ("(0, 5000",)),
    "q14": (1, ("16.38",)),
    "q15": (1, ("8449", "Supplier#000008449", "1772627.20")),
    "q16": (18314, ("Brand#41", "MEDIUM BRUSHED TIN", "3, 28")),
    "q17": (1, ("348406.05",)),
    "q18": (57, ("Customer#000128120", "4722021", "544089.09", "323.00")),
    "q19": (1, ("3083843.05",)),
    "q20": (None, ("Supplier#000000020",)),
    "q21": (100, ("Supplier#000002829", "20")),
    "q22": (7, ("'13'", "888", "6737713.99")),
}


def answers_note(queries: Mapping[str, Mapping[str, Any]]) -> str:
    """Return a sentence on how results at scale 1 agree with the answers.

    Args:
        queries: query -> `rows`, their number, and `first`, the text of the first.
    """
    wrong = [
        f"{query} ({found['rows']} rows, first {found['first']})"
        for query, found in queries.items()
        if ANSWERS[query][0] not in (None, found["rows"])
        or not all(value in found["first"] for value in ANSWERS[query][1])
    ]
    if wrong:
        return f"**Results that differ from the specification's validation answers: {'; '.join(wrong)}.**"
    return f"Number of rows and first row of all {len(queries)} results are those of the validation answers."
