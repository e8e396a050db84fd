"""Conditions on captures as a person types them: `quality_ok and fit_mm < 6`.

A small part of Python's expressions, parsed by Python and never run: column names, numbers, texts, `True`, `False`,
`None`; comparisons (chained too), `in`, `not in`, `is None`, `is not None`; `and`, `or`, `not` and brackets. Where a column has no
value, a comparison with it is neither true nor false, and the capture is left out, as in SQL.
"""

import ast
import difflib
from collections.abc import Callable, Collection, Mapping

import pyarrow.compute as pc

from schemas.errors import StoreError

_COMPARISONS: Mapping[type[ast.cmpop], Callable[[pc.Expression, pc.Expression], pc.Expression]] = {
    ast.Lt: lambda a, b: a < b,
    ast.LtE: lambda a, b: a <= b,
    ast.Gt: lambda a, b: a > b,
    ast.GtE: lambda a, b: a >= b,
    ast.Eq: lambda a, b: a == b,
    ast.NotEq: lambda a, b: a != b,
}
_LONGEST = 4_096
_EXAMPLE = 'where="quality_ok and fit_mm < 6"'


def parse_where(text: str, columns: Collection[str]) -> pc.Expression:
    """The Arrow expression that a text stands for.

    Args:
        columns: names that may occur.

    Raises:
        StoreError: if the text is no such condition, or names a column that is not there; shows where.
    """
    if len(text) > _LONGEST:
        raise StoreError(f"where: expected at most {_LONGEST} characters, found {len(text)}.")
    try:
        tree = ast.parse(text.strip(), mode="eval").body
        return _Parser(text.strip(), columns).condition(tree)
    except (SyntaxError, ValueError, OverflowError, RecursionError, MemoryError) as error:
        at = f" at character {error.offset}" if isinstance(error, SyntaxError) and error.offset else ""
        reason = error.msg if isinstance(error, SyntaxError) else str(error)
        raise StoreError(f"where: expected a condition such as {_EXAMPLE}, found {text!r}: {reason}{at}.") from None


class _Parser:
    def __init__(self, text: str, columns: Collection[str]) -> None:
        self._text, self._columns = text, columns

    def condition(self, node: ast.expr) -> pc.Expression:
        """What is true or false of a capture."""
        match node:
            case ast.BoolOp(op=op, values=values):
                found = self.condition(values[0])
                for value in values[1:]:
                    other = self.condition(value)
                    found = found & other if isinstance(op, ast.And) else found | other
                return found
            case ast.UnaryOp(op=ast.Not(), operand=operand):
                return ~self.condition(operand)
            case ast.Compare(left=left, ops=ops, comparators=comparators):
                found = pc.scalar(True)
                for comparison, one, other in zip(ops, [left, *comparators[:-1]], comparators, strict=True):
                    found = found & self._comparison(comparison, one, other)
                return found
            case ast.Name():
                return self._column(node)
            case ast.Constant(value=bool() as value):
                return pc.scalar(value)
        raise self._refused(node, "a condition")

    def _comparison(self, op: ast.cmpop, left: ast.expr, right: ast.expr) -> pc.Expression:
        if isinstance(op, ast.In | ast.NotIn):
            if not isinstance(right, ast.List | ast.Tuple | ast.Set):
                raise self._refused(right, "values in brackets")
            found = self._value(left).isin([self._constant(item) for item in right.elts])
            return found if isinstance(op, ast.In) else ~found
        if isinstance(op, ast.Is | ast.IsNot):
            if not (isinstance(right, ast.Constant) and right.value is None):
                raise self._refused(right, "None after `is`")
            return self._value(left).is_null() if isinstance(op, ast.Is) else self._value(left).is_valid()
        return _COMPARISONS[type(op)](self._value(left), self._value(right))

    def _value(self, node: ast.expr) -> pc.Expression:
        return self._column(node) if isinstance(node, ast.Name) else pc.scalar(self._constant(node))

    def _constant(self, node: ast.expr) -> bool | int | float | str:
        match node:
            case ast.Constant(value=bool() | int() | float() | str() as value):
                return value
            case ast.UnaryOp(op=ast.USub(), operand=ast.Constant(value=int() | float() as value)) if not isinstance(
                value, bool
            ):
                return -value
        raise self._refused(node, "a column, a number or a text in quotes")

    def _column(self, node: ast.Name) -> pc.Expression:
        if node.id not in self._columns:
            near = difflib.get_close_matches(node.id, self._columns, n=1)
            hint = f" Did you mean {near[0]}?" if near else ""
            raise StoreError(f"where: expected columns among {', '.join(self._columns)}, found {node.id!r}.{hint}")
        return pc.field(node.id)

    def _refused(self, node: ast.expr, expected: str) -> StoreError:
        piece = ast.get_source_segment(self._text, node) or "nothing"
        return StoreError(f"where: expected {expected}, found {piece!r} in {self._text!r}. An example: {_EXAMPLE}.")
