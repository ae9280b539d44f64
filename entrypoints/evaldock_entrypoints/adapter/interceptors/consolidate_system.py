"""Makes one system message at the top of several: some models refuse others."""

from collections.abc import Mapping
from typing import Any

from evaldock_entrypoints.adapter.call import Call
from evaldock_entrypoints.adapter.interceptor import Interceptor
from evaldock_entrypoints.adapter.interceptors.shapes import is_system, is_text_part, messages_of
from evaldock_entrypoints.contract import request_interceptors as contract


class ConsolidateSystem(Interceptor[contract.ConsolidateSystem]):
    """All system messages as one at the top."""

    Config = contract.ConsolidateSystem

    def on_request(self, call: Call) -> None:
        """Raise ValueError where a system message holds something else than text."""
        if call.kind != "chat":
            return
        places = [at for at, one in enumerate(messages_of(call.body.tree)) if is_system(one)]
        if places in ([], [0]):
            return
        messages = messages_of(call.body.edit())
        first, *_ = systems = [messages[at] for at in places]
        text = self.config.separator.join(filter(None, map(_text, systems)))
        others = [one for one in messages if not is_system(one)]
        messages[:] = [{**first, "content": text}, *others]


def _text(message: Mapping[str, Any]) -> str:
    content = message.get("content")
    if isinstance(content, str):
        return content
    if isinstance(content, list) and all(map(is_text_part, content)):
        return "\n".join(part["text"] for part in content)
    raise ValueError("a system message holds something else than text")
