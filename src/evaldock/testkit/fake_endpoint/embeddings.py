"""The embeddings route: unit vectors from a hash of the text."""

import base64
import math
import struct

from evaldock.testkit.fake_endpoint import tokenizer
from evaldock.testkit.fake_endpoint.answer import JsonObject
from evaldock.testkit.fake_endpoint.errors import RefusedError
from evaldock.testkit.fake_endpoint.protocol import EmbeddingRequest
from evaldock.testkit.fake_endpoint.table import digest


def embed(model_name: str, request: EmbeddingRequest) -> JsonObject:
    """The response of POST /v1/embeddings. Raises RefusedError for another model or unknown token ids."""
    if request.model != model_name:
        message = f"The model `{request.model}` does not exist; this endpoint serves `{model_name}`."
        raise RefusedError(status=404, message=message, param="model", code="model_not_found")
    texts = _texts(request)
    data: list[JsonObject] = [
        {"object": "embedding", "index": i, "embedding": _encoded(vector(text, request.dimensions), request)}
        for i, text in enumerate(texts)
    ]
    tokens = sum(len(tokenizer.encode(text)) for text in texts)
    usage = {"prompt_tokens": tokens, "total_tokens": tokens}
    return {"object": "list", "data": data, "model": model_name, "usage": usage}


def vector(text: str, dimensions: int) -> list[float]:
    """A vector of length 1 that depends on the text only."""
    raw = [digest("embedding", text, i) / 2**63 - 1 for i in range(dimensions)]
    norm = math.sqrt(sum(x * x for x in raw))
    return [x / norm for x in raw]


def _texts(request: EmbeddingRequest) -> list[str]:
    value = request.input
    if isinstance(value, str):
        return [value]
    whole: list[str | list[int]] = []
    ids: list[int] = []
    for entry in value:
        if isinstance(entry, int):
            ids.append(entry)
        else:
            whole.append(entry)
    entries = [ids] if ids else whole
    try:
        return [entry if isinstance(entry, str) else tokenizer.decode(entry) for entry in entries]
    except ValueError as error:
        raise RefusedError(status=400, message=f"input: {error}", param="input") from error


def _encoded(values: list[float], request: EmbeddingRequest) -> list[float] | str:
    if request.encoding_format == "float":
        return values
    return base64.b64encode(struct.pack(f"<{len(values)}f", *values)).decode()
