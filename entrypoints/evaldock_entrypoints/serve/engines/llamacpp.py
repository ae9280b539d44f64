"""The embedded engine: a GGUF file over libllama behind the shared front."""

import argparse
import logging
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from evaldock_entrypoints.serve.batching.engine import BatchingEngine
from evaldock_entrypoints.serve.engines.llama.context import LlamaContext
from evaldock_entrypoints.serve.engines.llama.model import LlamaModel
from evaldock_entrypoints.serve.front.protocol import ModelInfo
from evaldock_entrypoints.serve.front.server import DEFAULT_QUEUE_BOUND, leave, serve

MEBIBYTE = 1024 * 1024
# Longer contexts cost memory for every sequence; they are there when asked for.
DEFAULT_CONTEXT_CAP = 4096


def main(arguments: Sequence[str] | None = None) -> None:
    """Serve until stopped; the process ends with 0 after SIGTERM, 1 when the engine did not start or died."""
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(name)s: %(message)s", stream=sys.stderr)
    options = _parser().parse_args(arguments)
    try:
        engine = build_engine(options)
    except (ImportError, OSError, RuntimeError, ValueError) as error:
        sys.stderr.write(f"serve: error: {error}\n")
        leave(1)
    leave(serve(engine, host=options.host, port=options.port, queue_bound=options.queue_bound))


def build_engine(options: argparse.Namespace) -> BatchingEngine:
    """Load the model and return an engine that has not started."""
    model = LlamaModel(options.model)
    max_model_len = context_length(options.max_model_len, model.trained_context)
    slots = fitting_slots(
        wanted=options.max_batch_size,
        slot_bytes=max_model_len * model.cache_bytes_per_token,
        budget_bytes=options.kv_cache_mib * MEBIBYTE,
    )
    context = LlamaContext(model, slots=slots, max_model_len=max_model_len, threads=options.threads)
    logging.getLogger("evaldock.serve").info(
        "%s: %d tokens of context, %d sequences at a time, %d threads",
        options.name,
        max_model_len,
        slots,
        options.threads,
    )
    info = ModelInfo(
        name=options.name,
        max_model_len=max_model_len,
        created=int(time.time()),
        chat_template=model.chat_template,
        bos_token=model.bos_token,
        eos_token=model.eos_token,
        pad_token=model.pad_token,
        tokenizer_class="GGUFTokenizer",
    )
    return BatchingEngine(context, model, info)


def context_length(wanted: int, trained: int) -> int:
    """Return the context in tokens, by default (0) the model's up to a cap. Raises ValueError beyond it."""
    if wanted > trained:
        raise ValueError(
            f"--max_model_len {wanted} is more than the {trained} tokens the model was trained with"
        )
    return wanted or min(trained, DEFAULT_CONTEXT_CAP)


def fitting_slots(*, wanted: int, slot_bytes: int, budget_bytes: int) -> int:
    """Return how many whole contexts fit into the cache's budget: at least one, at most `wanted`."""
    return max(1, min(wanted, budget_bytes // slot_bytes))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m evaldock_entrypoints.serve.engines.llamacpp")
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--name", required=True)
    parser.add_argument("--host", required=True)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--max_model_len", type=int, required=True)
    parser.add_argument("--max_batch_size", type=int, required=True)
    parser.add_argument("--kv_cache_mib", type=int, required=True)
    parser.add_argument("--threads", type=int, required=True)
    parser.add_argument("--queue_bound", type=int, default=DEFAULT_QUEUE_BOUND)
    return parser


if __name__ == "__main__":
    main()
