"""The vendor's command: a Jinja template whose result a shell is given."""

from collections.abc import Callable, Iterator, Mapping
from functools import cache
from types import CodeType
from typing import Any

from jinja2 import StrictUndefined, TemplateError, UndefinedError, nodes
from jinja2.exceptions import SecurityError
from jinja2.sandbox import ImmutableSandboxedEnvironment

from evaldock_entrypoints.contract.errors import EvaldockError, HarnessError, UsageError
from evaldock_entrypoints.contract.vendor.safe import SAFE_SET, is_safe, leaves

_EXTRA = "config.params.extra."


class NotSetError(UsageError):
    """The command has a place for a value that nobody has set."""

    def __init__(self, unknown: str | None = None) -> None:
        self.key_is_known = unknown is None
        super().__init__(
            f"the vendor's command needs a value that is not set{f': {unknown}' if unknown else ''}",
            where="defaults.command of vendor.yml",
            next_step="set the task's parameters and extras: run_eval describe TASK",
        )


def used_keys(template: str) -> set[str]:
    """Return the dotted keys that a template reads, such as "config.params.extra.judge.url"."""
    keys = set(_keys(_environment(frozenset()).parse(template)))
    return {key for key in keys if not any(other.startswith(f"{key}.") for other in keys)}


@cache
def extra_keys(template: str) -> frozenset[str]:
    """Return the extras that a template reads, dotted where they are nested."""
    return frozenset(key.removeprefix(_EXTRA) for key in used_keys(template) if key.startswith(_EXTRA))


def render_command(template: str, context: Mapping[str, Any], vendor_texts: set[str]) -> str:
    """Return the shell script; every value put into it is safe, or the vendor's own text.

    Raises UsageError for another value, NotSetError for a null or for a key that is not there, HarnessError
    for a template that does what the sandbox forbids.
    """
    environment = _environment(frozenset(vendor_texts))
    try:
        code = _compiled(template)
        made = environment.template_class.from_code(environment, code, environment.make_globals(None))
        return made.render(context)
    except EvaldockError:
        raise
    except SecurityError as error:
        raise HarnessError(
            f"the vendor's command does what no template may: {error}",
            where="defaults.command of vendor.yml",
            next_step="leave the task out",
        ) from error
    except UndefinedError as error:
        raise NotSetError(str(error)) from error
    except (TemplateError, TypeError, ValueError, AttributeError, ArithmeticError) as error:
        raise HarnessError(
            f"the vendor's command cannot be rendered: {error}",
            where="defaults.command of vendor.yml",
            next_step="leave the task out",
        ) from error


def refuse_unsafe(
    values: Mapping[str, Any], is_allowed: Callable[[object], bool], own: Mapping[str, Any]
) -> None:
    """Raise UsageError naming the first key whose value must not be put into a shell script.

    own: what the vendor itself gives its keys, which may be any text.
    """
    for key, value in leaves(values):
        if value is not None and not is_allowed(value) and own.get(key) != value:
            raise UsageError(
                f"{key} is {value!r}, and the vendor's command is for a shell, which would interpret that",
                where=key,
                next_step=f"use only {SAFE_SET}, not beginning with - and without .. in a path",
            )


@cache
def _compiled(template: str) -> CodeType:
    return _environment(frozenset()).compile(template)


def _environment(vendor_texts: frozenset[str]) -> ImmutableSandboxedEnvironment:
    def judged(value: Any) -> Any:
        if value is None:
            raise NotSetError
        if isinstance(value, StrictUndefined) or is_safe(value) or str(value) in vendor_texts:
            return value
        raise UsageError(
            f"the vendor's command makes {str(value)!r} of a value, which a shell would interpret",
            where="defaults.command of vendor.yml",
            next_step=f"use values of only {SAFE_SET}",
        )

    return ImmutableSandboxedEnvironment(undefined=StrictUndefined, finalize=judged, autoescape=False)


def _keys(node: nodes.Node) -> Iterator[str]:
    key = _key(node)
    if key is not None:
        yield key
    for child in node.iter_child_nodes():
        is_method = isinstance(node, nodes.Call) and isinstance(child, nodes.Getattr) and child is node.node
        yield from _keys(child.node if is_method and isinstance(child, nodes.Getattr) else child)


def _key(node: nodes.Node) -> str | None:
    match node:
        case nodes.Name():
            return node.name
        case nodes.Getattr():
            base = _key(node.node)
            return None if base is None else f"{base}.{node.attr}"
        case nodes.Getitem(arg=nodes.Const(value=str(name))):
            base = _key(node.node)
            return None if base is None else f"{base}.{name}"
    return None
