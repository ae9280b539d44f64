"""Puts a system message of the user's own into each request."""

from typing import Any

from evaldock_entrypoints.adapter.call import Call
from evaldock_entrypoints.adapter.interceptor import Interceptor
from evaldock_entrypoints.adapter.interceptors.shapes import is_system, messages_of
from evaldock_entrypoints.contract import request_interceptors as contract


class SystemMessage(Interceptor[contract.SystemMessage]):
    """A system message in chats; text before the prompt in completions."""

    Config = contract.SystemMessage

    def on_request(self, call: Call) -> None:
        """Raise ValueError where the request cannot carry the text: it must not go without."""
        match call.kind:
            case "chat":
                self._into_messages(messages_of(call.body.edit()))
            case "completions":
                tree = call.body.edit()
                tree["prompt"] = self._before(tree.get("prompt"))
            case "embeddings":
                raise ValueError("an embedding takes no system message")
            case "other":
                return

    def _into_messages(self, messages: list[dict[str, Any]]) -> None:
        if self.config.strategy == "replace":
            messages[:] = [one for one in messages if not is_system(one)]
        if messages and is_system(messages[0]):
            messages[0]["content"] = self._joined(messages[0].get("content"))
        else:
            messages.insert(0, {"role": "system", "content": self.config.system_message})

    def _joined(self, content: Any) -> Any:
        ours, separator = self.config.system_message, self.config.separator
        is_first = self.config.strategy == "prepend"
        if isinstance(content, list):
            part = {"type": "text", "text": ours + separator if is_first else separator + ours}
            return [part, *content] if is_first else [*content, part]
        if not isinstance(content, str):
            raise ValueError("the system message is neither text nor a list of parts")
        return f"{ours}{separator}{content}" if is_first else f"{content}{separator}{ours}"

    def _before(self, prompt: Any) -> Any:
        """Return the prompt, or each of a list of prompts, with the text before it."""
        if isinstance(prompt, str):
            return f"{self.config.system_message}{self.config.separator}{prompt}"
        if isinstance(prompt, list) and all(isinstance(one, str) for one in prompt):
            return [self._before(one) for one in prompt]
        raise ValueError("the prompt is no text (token ids, perhaps), so no text can stand before it")
