"""Evaluate the calls that a model wrote without running any other code of its.

In a conversation bfcl hands the model's calls to Python's eval, and goes on asking with what they return.
Here a call may only be one of a public method of the functions on offer, and its arguments literals, sums of
numbers or such calls again. Everything else is refused: the model is told so, as of any call that fails.
"""

import ast
import operator
from collections.abc import Callable, Mapping
from typing import Any

_SUMS: dict[type[ast.operator], Callable[[Any, Any], Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.FloorDiv: operator.floordiv,
    ast.Mod: operator.mod,
    ast.Pow: lambda base, exponent: _power(base, exponent),
}
_LARGEST_BASE, _LARGEST_EXPONENT = 10**9, 64
REFUSED = "not evaluated here: "
_INSTANCE = "_instance"  # how bfcl ends the names of the objects that conversations act on


class RefusedError(ValueError):
    """An expression that eval would run, and that is not run here."""

    def __init__(self, what: str) -> None:
        super().__init__(REFUSED + what)


def evaluator(names: Mapping[str, Any]) -> Callable[[str], Any]:
    """Return what to use instead of eval in a module with these global names."""

    def evaluate(source: str) -> Any:
        """Return the expression's value; raises NameError as eval does, RefusedError."""
        return _value(ast.parse(source, mode="eval").body, names)

    return evaluate


def _value(node: ast.expr, names: Mapping[str, Any]) -> Any:
    match node:
        case ast.Call():
            return _call(node, names)
        case ast.List(elts=elements):
            return [_value(element, names) for element in elements]
        case ast.Tuple(elts=elements):
            return tuple(_value(element, names) for element in elements)
        case ast.Dict(keys=keys, values=values) if None not in keys:
            pairs = zip(keys, values, strict=True)
            return {_value(key, names): _value(value, names) for key, value in pairs if key is not None}
        case ast.BinOp(op=op) if type(op) in _SUMS:
            return _SUMS[type(op)](_number(node.left, names), _number(node.right, names))
        case ast.Name(id=name) if name not in names:
            raise NameError(f"name '{name}' is not defined")
        case _:
            return _literal(node)


def _literal(node: ast.expr) -> Any:
    try:
        return ast.literal_eval(node)
    except ValueError as error:
        raise RefusedError(type(node).__name__) from error


def _number(node: ast.expr, names: Mapping[str, Any]) -> int | float:
    value = _value(node, names)
    if not isinstance(value, int | float):
        raise RefusedError("a sum of other things than numbers")
    return value


def _power(base: float, exponent: float) -> Any:
    if abs(base) > _LARGEST_BASE or abs(exponent) > _LARGEST_EXPONENT:
        raise RefusedError("so large a power")
    return base**exponent


def _call(node: ast.Call, names: Mapping[str, Any]) -> Any:
    method = _method(node.func, names)
    if any(isinstance(argument, ast.Starred) for argument in node.args):
        raise RefusedError("starred arguments")
    arguments = [_value(argument, names) for argument in node.args]
    keywords = {keyword.arg: _value(keyword.value, names) for keyword in node.keywords}
    if None in keywords:
        raise RefusedError("starred arguments")
    return method(*arguments, **{str(name): value for name, value in keywords.items()})


def _method(node: ast.expr, names: Mapping[str, Any]) -> Callable[..., Any]:
    root = node
    while isinstance(root, ast.Attribute):
        root = root.value
    if isinstance(root, ast.Name) and root.id not in names:
        raise NameError(f"name '{root.id}' is not defined")
    match node:
        case ast.Attribute(value=ast.Name(id=name), attr=method) if name.endswith(
            _INSTANCE
        ) and not method.startswith("_"):
            found: Callable[..., Any] = getattr(names[name], method)
            return found
        case _:
            raise RefusedError("a call of something else than the functions on offer")
