"""An interceptor of one's own: it adds a mark to each question and hands answers over in capitals."""

from evaldock_entrypoints.adapter.call import Answer, Call
from evaldock_entrypoints.adapter.interceptor import Interceptor
from evaldock_entrypoints.contract.fields import Strict


class Settings(Strict):
    """What stands under `config`; unknown keys are errors."""

    mark: str = "!"


class Shout(Interceptor[Settings]):
    """Named in a document as `shout:Shout`, or by an entry point of the group evaldock.interceptors."""

    Config = Settings

    def on_request(self, call: Call) -> None:
        """Change the request; what is raised here fails it."""
        if call.kind == "chat":
            call.body.edit()["messages"][-1]["content"] += self.config.mark

    def on_response(self, call: Call, answer: Answer) -> None:
        """Change the answer, and note how much with the delivery; failures come here as well."""
        if call.kind != "chat" or answer.status >= 400:
            return
        for choice in answer.body.edit()["choices"]:
            text = choice["message"]["content"] or ""
            choice["message"]["content"] = text.upper()
            call.notes["shouted"] = len(text)
