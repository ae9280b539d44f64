"""Register the endpoint's model with bfcl, and bring bfcl to read the data folder.

bfcl answers for the models of a list only. Its own handler for OpenAI's API asks; what it does not do is to
send all parameters, and to leave it at one attempt: the OpenAI client repeats what failed, and bfcl itself
repeats after status 429 for ever.
"""

import hashlib
import json
import signal
import threading
import time
from pathlib import Path
from typing import Any, ClassVar, Literal

from bfcl_eval import utils
from bfcl_eval.constants.model_config import MODEL_CONFIG_MAPPING, ModelConfig
from bfcl_eval.model_handler.api_inference.openai_completion import OpenAICompletionsHandler

Mode = Literal["native", "prompt"]
# Fixed names: bfcl takes a model with "FC" in its name for one of native calls, and "_" in it for "/".
NAMES: dict[Mode, str] = {"native": "endpoint-native", "prompt": "endpoint-prompt"}
VERSION = "BFCL_v4"


class EndpointHandler(OpenAICompletionsHandler):  # type: ignore[misc] # bfcl is untyped
    """bfcl's handler, with all sampling parameters and one attempt."""

    sampling: ClassVar[dict[str, Any]] = {}
    timeout_s: ClassVar[float | None] = None

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.model_name_underline_replaced = "model"  # becomes part of a Python name, whatever the model's is
        self._answers = threading.local()

    def _build_client_kwargs(self) -> dict[str, Any]:
        return {**super()._build_client_kwargs(), "max_retries": 0, "timeout": self.timeout_s}

    def generate_with_backoff(self, **body: Any) -> tuple[Any, float]:
        """Ask once, where bfcl would ask for ever. Returns the answer and the seconds that it took."""
        body |= self.sampling
        if self._answers.prompt_hash is None:
            self._answers.prompt_hash = _prompt_hash(body)
        started_s = time.time()
        answer = self.client.chat.completions.create(**body)
        latency_s = time.time() - started_s
        self._answers.finish_reasons.append(answer.choices[0].finish_reason)
        return answer, latency_s

    def inference(self, test_entry: dict[str, Any], *args: Any) -> tuple[Any, dict[str, Any]]:
        """Return bfcl's result of one case, with the first request's hash and how the answers ended."""
        self._answers.prompt_hash, self._answers.finish_reasons = None, []
        result, metadata = super().inference(test_entry, *args)
        mine = {
            "prompt_hash": self._answers.prompt_hash,
            "finish_reasons": self._answers.finish_reasons,
        }
        return result, {**metadata, "evaldock": mine}


def _prompt_hash(body: dict[str, Any]) -> str:
    """SHA-256 of the request body as canonical JSON, without the seed."""
    seedless = {name: value for name, value in body.items() if name != "seed"}
    return hashlib.sha256(json.dumps(seedless, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def register(model_id: str, mode: Mode) -> str:
    """Add the model to bfcl's list and return its name there."""
    MODEL_CONFIG_MAPPING[NAMES[mode]] = ModelConfig(
        model_name=model_id,
        display_name=NAMES[mode],
        url="",
        org="",
        license="",
        model_handler=EndpointHandler,
        is_fc_model=mode == "native",
        # OpenAI's API takes no dots in names of functions, so bfcl sends underscores and compares them.
        underscore_to_dot=mode == "native",
    )
    return NAMES[mode]


def read_data_from(folder: Path) -> None:
    """Bring bfcl to read questions and answers from the data folder instead of its package."""
    utils.PROMPT_PATH = folder / VERSION
    utils.POSSIBLE_ANSWER_PATH = folder / VERSION / "possible_answer"
    utils.MULTI_TURN_FUNC_DOC_PATH = folder / VERSION / "multi_turn_func_doc"


def end_when_told() -> None:
    """Let SIGTERM and SIGINT end this process: a library that bfcl imports takes both and goes on."""
    for name in (signal.SIGTERM, signal.SIGINT):
        signal.signal(name, signal.SIG_DFL)
