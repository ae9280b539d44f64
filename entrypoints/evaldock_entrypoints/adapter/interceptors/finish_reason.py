"""Says why answers ended in OpenAI's words, whatever the server calls it."""

from collections.abc import Mapping
from typing import Any

from evaldock_entrypoints.adapter.call import Answer, Call
from evaldock_entrypoints.adapter.interceptor import Context, Interceptor
from evaldock_entrypoints.adapter.interceptors.shapes import choices_of
from evaldock_entrypoints.contract import answer_interceptors as contract

# Anthropic, Gemini, Cohere, Mistral, Bedrock, Ollama, text-generation-inference and Triton; lower case
WORDS: Mapping[str, contract.FinishReasonWord] = {
    **dict.fromkeys(
        ("eos", "eos_token", "end_turn", "stop_sequence", "end", "complete", "completed"), "stop"
    ),
    **dict.fromkeys(("stop_token", "end_of_turn"), "stop"),
    **dict.fromkeys(("max_tokens", "max_output_tokens", "max_length", "model_length"), "length"),
    **dict.fromkeys(("length_limit", "token_limit", "max_new_tokens"), "length"),
    **dict.fromkeys(("tool_use", "tool_call", "tool"), "tool_calls"),
    **dict.fromkeys(("safety", "recitation", "blocklist", "prohibited_content", "spii"), "content_filter"),
    **dict.fromkeys(("content_filtered", "guardrail_intervened", "refusal", "error_toxic"), "content_filter"),
}


class FinishReason(Interceptor[contract.FinishReason]):
    """finish_reason of each choice; words that nobody knows stay."""

    Config = contract.FinishReason

    def __init__(self, config: contract.FinishReason, context: Context) -> None:
        super().__init__(config, context)
        own = {word.lower(): meaning for word, meaning in config.mapping.items()}
        same = {word: word for word in ("stop", "length", "tool_calls", "content_filter", "function_call")}
        self._words: dict[str, str] = {**WORDS, **same, **own}

    def on_response(self, call: Call, answer: Answer) -> None:  # noqa: ARG002 - of the hook
        """Change what is spelled otherwise."""
        if answer.status >= 400 or not any(map(self._is_foreign, choices_of(answer.body.tree))):
            return
        for choice in filter(self._is_foreign, choices_of(answer.body.edit())):
            choice["finish_reason"] = self._words[choice["finish_reason"].lower()]

    def _is_foreign(self, choice: Mapping[str, Any]) -> bool:
        word = choice.get("finish_reason")
        return isinstance(word, str) and self._words.get(word.lower(), word) != word
