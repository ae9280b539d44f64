"""The two generation routes: from a checked request to an answer."""

from collections.abc import Mapping
from dataclasses import dataclass

from evaldock.testkit.fake_endpoint import logprobs as scoring
from evaldock.testkit.fake_endpoint import sampling, tokenizer
from evaldock.testkit.fake_endpoint.answer import Answer, Choice, Outcome, Usage
from evaldock.testkit.fake_endpoint.errors import RefusedError
from evaldock.testkit.fake_endpoint.logprobs import LogprobsBug
from evaldock.testkit.fake_endpoint.protocol import ChatRequest, CompletionRequest
from evaldock.testkit.fake_endpoint.table import AnswerTable, ChoiceItem, Found, Item, ToolCall

Counts = Mapping[str, int]  # how often each item was asked so far


@dataclass(frozen=True, kw_only=True)
class Model:
    """The served model: its name, what it knows, and how its log-probabilities are broken."""

    name: str
    table: AnswerTable
    logprobs_bug: LogprobsBug = "none"


@dataclass(frozen=True, kw_only=True)
class _Prompt:
    text: str
    ids: list[int]
    found: Found | None
    asked_before: int  # how often the item was

    @property
    def item(self) -> Item | None:
        return self.found.item if self.found else None


def complete(
    model: Model, request: CompletionRequest, *, identity: str, ordinal: int, counts: Counts
) -> Answer:
    """Answer POST /v1/completions. Raises RefusedError for another model's name or a bad prompt."""
    _check_model(model, request.model)
    prompts = [_read_prompt(model.table, prompt, counts) for prompt in request.prompts()]
    if not prompts:
        raise RefusedError(status=400, message="prompt is an empty list", param="prompt")
    choices: list[Choice] = []
    completion_tokens = 0
    for prompt in prompts:
        for variant in range(request.n):
            variants = _variants(request, ordinal, variant)
            choice, tokens = _completion(model, request, prompt, len(choices), variants)
            choices.append(choice)
            completion_tokens += tokens
    usage = Usage(prompt_tokens=sum(len(p.ids) for p in prompts), completion_tokens=completion_tokens)
    return Answer(
        route="completions",
        id=f"cmpl-{identity}",
        model=model.name,
        choices=tuple(choices),
        usage=usage,
        outcomes=tuple(_outcome(model.table, p, scores=request.echo) for p in prompts),
        stream=request.stream,
        include_usage=request.include_usage,
    )


def chat(model: Model, request: ChatRequest, *, identity: str, ordinal: int, counts: Counts) -> Answer:
    """Answer POST /v1/chat/completions. Raises RefusedError for another model's name."""
    _check_model(model, request.model)
    prompt = _read_messages(model.table, request, counts)
    indexes = range(request.n)
    answers = [_chat_choice(model, request, prompt, i, _variants(request, ordinal, i)) for i in indexes]
    usage = Usage(
        prompt_tokens=len(prompt.ids),
        completion_tokens=sum(tokens + reasoning for _, tokens, reasoning in answers),
        reasoning_tokens=sum(reasoning for *_, reasoning in answers),
    )
    return Answer(
        route="chat",
        id=f"chatcmpl-{identity}",
        model=model.name,
        choices=tuple(choice for choice, *_ in answers),
        usage=usage,
        outcomes=(_outcome(model.table, prompt, scores=False),),
        stream=request.stream,
        include_usage=request.include_usage,
    )


def messages_text(request: ChatRequest) -> str:
    """The chat as one text: what /tokenize counts and the filler is a hash of."""
    return "".join(f"{message.role}: {message.text}\n" for message in request.messages)


def _check_model(model: Model, asked: str) -> None:
    if asked != model.name:
        message = f"The model `{asked}` does not exist; this endpoint serves `{model.name}`."
        raise RefusedError(status=404, message=message, param="model", code="model_not_found")


def _read_prompt(table: AnswerTable, prompt: str | list[int], counts: Counts) -> _Prompt:
    if isinstance(prompt, str):
        return _prompt(prompt, tokenizer.encode(prompt), table.find(prompt), counts)
    try:
        text = tokenizer.decode(prompt)
    except ValueError as error:
        raise RefusedError(status=400, message=f"prompt: {error}", param="prompt") from error
    return _prompt(text, prompt, table.find(text), counts)


def _read_messages(table: AnswerTable, request: ChatRequest, counts: Counts) -> _Prompt:
    text = messages_text(request)
    matches = (table.find(message.text) for message in reversed(request.messages))
    return _prompt(text, tokenizer.encode(text), next(filter(None, matches), None), counts)


def _prompt(text: str, ids: list[int], found: Found | None, counts: Counts) -> _Prompt:
    asked_before = counts.get(found.item.id, 0) if found else 0
    return _Prompt(text=text, ids=ids, found=found, asked_before=asked_before)


def _variants(request: CompletionRequest | ChatRequest, ordinal: int, index: int) -> tuple[object, ...]:
    """What makes filler differ: nothing at temperature 0, else the seed or, without one, the ordinal."""
    if not request.temperature:
        return ()
    draw = ("ordinal", ordinal) if request.seed is None else ("seed", request.seed)
    return (request.temperature, index, *draw)


def _say(model: Model, prompt: _Prompt, variants: tuple[object, ...]) -> str:
    if prompt.item is None:
        return sampling.filler(prompt.text, *variants)
    return sampling.answer_text(model.table, prompt.item, prompt.asked_before)


def _completion(
    model: Model, request: CompletionRequest, prompt: _Prompt, index: int, variants: tuple[object, ...]
) -> tuple[Choice, int]:
    said = _say(model, prompt, variants)
    if isinstance(prompt.item, ChoiceItem) and prompt.text and not prompt.text[-1].isspace():
        said = " " + said
    cut = sampling.cut(said, request.stop, request.max_tokens)
    choice = Choice(
        index=index,
        text=prompt.text + cut.text if request.echo else cut.text,
        finish_reason=cut.finish_reason,
        logprobs=_completion_logprobs(model, request, prompt, cut.text),
    )
    return choice, cut.tokens


def _completion_logprobs(
    model: Model, request: CompletionRequest, prompt: _Prompt, said: str
) -> scoring.TokenLogprobs | None:
    if request.logprobs is None:
        return None
    k = request.logprobs
    if not request.echo:
        return scoring.with_bug(scoring.generated_logprobs(said, k, len(prompt.text)), model.logprobs_bug, k)
    values = scoring.prompt_values(prompt.ids, prompt.text, prompt.found, model.table)
    echoed = scoring.prompt_logprobs(prompt.ids, values, k)
    generated = scoring.generated_logprobs(said, k, len(prompt.text))
    return scoring.with_bug(scoring.joined(echoed, generated), model.logprobs_bug, k)


def _chat_choice(
    model: Model, request: ChatRequest, prompt: _Prompt, index: int, variants: tuple[object, ...]
) -> tuple[Choice, int, int]:
    call = _call(model.table, prompt) if request.may_call_tools else None
    if call is not None:
        tokens = len(tokenizer.encode(call.model_dump_json()))
        return Choice(index=index, text=None, finish_reason="tool_calls", tool_call=call), tokens, 0
    thought = _think(request, prompt)
    if thought.finish_reason == "length":
        cut_short = Choice(index=index, text=None, finish_reason="length", reasoning=thought.text)
        return cut_short, 0, thought.tokens
    limit = None if request.limit is None else request.limit - thought.tokens
    cut = sampling.cut(_say(model, prompt, variants), request.stop, limit)
    choice = Choice(
        index=index,
        text=cut.text,
        finish_reason=cut.finish_reason,
        reasoning=thought.text or None,
        logprobs=_chat_logprobs(model, request, cut.text),
    )
    return choice, cut.tokens, thought.tokens


def _call(table: AnswerTable, prompt: _Prompt) -> ToolCall | None:
    return sampling.answer_call(table, prompt.item, prompt.asked_before) if prompt.item else None


def _think(request: ChatRequest, prompt: _Prompt) -> sampling.Cut:
    """The table's reasoning for the item; it uses up the token limit first, as in real servers."""
    reasoning = prompt.item.reasoning if prompt.item else None
    return sampling.cut(reasoning or "", [], request.limit)


def _chat_logprobs(model: Model, request: ChatRequest, said: str) -> scoring.TokenLogprobs | None:
    if not request.logprobs:
        return None
    k = request.top_logprobs or 0
    return scoring.with_bug(scoring.generated_logprobs(said, k, 0), model.logprobs_bug, k)


def _outcome(table: AnswerTable, prompt: _Prompt, *, scores: bool) -> Outcome:
    item = prompt.item
    if prompt.found is None or item is None:
        return Outcome(item=None, right=False)
    unscored = isinstance(item, ChoiceItem) and scoring.scored_choice(prompt.text, prompt.found) is None
    return Outcome(item=item, right=table.is_right(item, prompt.asked_before), no_choice=scores and unscored)
