"""pandas functions without a process of their own: each is called with series of one element.

Flink runs vectorized functions in separate processes only, to which it sends every record in clear. What such a
function gets is a batch that Flink cuts as it likes, so it must give the same for batches of one; it is slower.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pyarrow as pa
from pyflink.common import Row
from pyflink.table import udf
from pyflink.table.udf import FunctionContext, ScalarFunction

from confide.errors import LaunchRefused


class OneByOne(ScalarFunction):  # type: ignore[misc]
    """A pandas function as one of single values.

    Args:
        function: takes and returns `pandas.Series`; a callable, or a `ScalarFunction`.
    """

    def __init__(self, function: Any) -> None:
        self._function = function
        self._call: Callable[..., Any] = getattr(function, "eval", function)

    def open(self, function_context: FunctionContext) -> None:
        """Open the function, if it wants that."""
        if isinstance(self._function, ScalarFunction):
            self._function.open(function_context)

    def close(self) -> None:
        """Close the function, if it wants that."""
        if isinstance(self._function, ScalarFunction):
            self._function.close()

    def is_deterministic(self) -> bool:
        """Return what the function says of itself."""
        return not isinstance(self._function, ScalarFunction) or bool(self._function.is_deterministic())

    def eval(self, *values: Any) -> Any:
        """Call the function for one row.

        Raises:
            NotImplementedError: the function takes whole rows.
        """
        if any(isinstance(value, Row) for value in values):
            raise NotImplementedError(
                "pandas functions over whole rows (Table.map) do not run in thread mode"
            )
        columns = [pa.array([value]).to_pandas(date_as_object=True) for value in values]
        result = self._call(*columns)
        return pa.Array.from_pandas(result, mask=result.isnull())[0].as_py()


def _refuse_rows() -> None:
    raise LaunchRefused(
        "a pandas function over whole rows (Table.map) would run Python in another process, to which Flink sends every"
        " record in clear: give it columns, or use an ordinary function"
    )


def install() -> None:
    """Have PyFlink declare pandas functions as ordinary ones from now on."""
    create = udf._create_udf

    def ordinary(
        f: Any, input_types: Any, result_type: Any, func_type: str, deterministic: Any, name: Any
    ) -> Any:
        if func_type == "pandas":
            name = name or getattr(f, "__name__", type(f).__name__)
            declared = create(OneByOne(f), input_types, result_type, "general", deterministic, name)
            declared._set_takes_row_as_input = _refuse_rows
            return declared
        return create(f, input_types, result_type, func_type, deterministic, name)

    udf._create_udf = ordinary
