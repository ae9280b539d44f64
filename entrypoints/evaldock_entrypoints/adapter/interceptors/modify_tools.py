"""Changes the tools that a harness offers to the model; the harness sees its own names again."""

import copy
from typing import Any

from evaldock_entrypoints.adapter.call import Answer, Call
from evaldock_entrypoints.adapter.interceptor import Context, Interceptor
from evaldock_entrypoints.adapter.interceptors.shapes import choices_of, functions_of, messages_of
from evaldock_entrypoints.contract import request_interceptors as contract


class ModifyTools(Interceptor[contract.ModifyTools]):
    """Tools removed, renamed, changed, added; in chats alone."""

    Config = contract.ModifyTools

    def __init__(self, config: contract.ModifyTools, context: Context) -> None:
        super().__init__(config, context)
        self._original = {new: old for old, new in config.rename.items()}

    def on_request(self, call: Call) -> None:
        """Raise ValueError where tool_choice would name a tool that is gone, or two would share a name."""
        tree = call.body.tree or {}
        if call.kind != "chat" or not (tree.get("tools") or self.config.add):
            return
        tree = call.body.edit()
        tools = self._changed(tree.get("tools") or [])
        _refuse_doubles(tools)
        if self.config.tool_choice is not None:
            tree["tool_choice"] = self.config.tool_choice
        if tools:
            tree["tools"] = tools
        else:  # an empty list is refused by servers
            del tree["tools"]
            tree.pop("tool_choice", None)
        self._rename_called(messages_of(tree))
        self._follow_choice(tree, tools)

    def on_response(self, call: Call, answer: Answer) -> None:
        """Give called tools the harness's names back."""
        if call.kind != "chat" or answer.status >= 400 or not self._original:
            return
        if any(
            _names(choice.get("message")) & self._original.keys() for choice in choices_of(answer.body.tree)
        ):
            for choice in choices_of(answer.body.edit()):
                _rename(choice.get("message"), self._original)

    def _changed(self, tools: list[Any]) -> list[Any]:
        kept = [tool for tool in tools if _name(tool) not in self.config.remove]
        for _, function in functions_of(kept):
            function["name"] = self.config.rename.get(function.get("name", ""), function.get("name"))
            function.update(copy.deepcopy(self.config.override.get(function["name"], {})))
            self._change_parameters(function)
        return [*kept, *copy.deepcopy(self.config.add)]

    def _change_parameters(self, function: dict[str, Any]) -> None:
        if not (self.config.strip_properties or self.config.add_properties):
            return
        parameters = function.setdefault("parameters", {"type": "object"})
        properties = parameters.setdefault("properties", {})
        for name in self.config.strip_properties:
            properties.pop(name, None)
        for name, schema in self.config.add_properties.items():
            properties.setdefault(name, copy.deepcopy(schema))
        if isinstance(parameters.get("required"), list):
            gone = set(self.config.strip_properties) - properties.keys()
            parameters["required"] = [name for name in parameters["required"] if name not in gone]

    def _rename_called(self, messages: list[dict[str, Any]]) -> None:
        """Say earlier calls by the names that the model knows."""
        for message in messages if self.config.rename else ():
            _rename(message, self.config.rename)

    def _follow_choice(self, tree: dict[str, Any], tools: list[Any]) -> None:
        choice = tree.get("tool_choice")
        function = choice.get("function") if isinstance(choice, dict) else None
        if not isinstance(function, dict):
            return
        if self.config.tool_choice is None:
            function["name"] = self.config.rename.get(function.get("name", ""), function.get("name"))
        if function.get("name") not in {_name(tool) for tool in tools}:
            raise ValueError(f'tool_choice names "{function.get("name")}", which is not among the tools')


def _refuse_doubles(tools: list[Any]) -> None:
    names = [_name(tool) for tool in tools]
    double = next((name for name in names if names.count(name) > 1), None)
    if double is not None:
        raise ValueError(f'two tools share the name "{double}"')


def _name(tool: Any) -> str | None:
    return next((function.get("name") for _, function in functions_of([tool])), None)


def _names(message: Any) -> set[str]:
    calls = message.get("tool_calls") if isinstance(message, dict) else None
    return {str(function.get("name")) for _, function in functions_of(calls)}


def _rename(message: Any, names: dict[str, str]) -> None:
    if not isinstance(message, dict):
        return
    for _, function in functions_of(message.get("tool_calls")):
        function["name"] = names.get(function.get("name", ""), function.get("name"))
    if message.get("role") == "tool" and message.get("name") in names:
        message["name"] = names[message["name"]]
