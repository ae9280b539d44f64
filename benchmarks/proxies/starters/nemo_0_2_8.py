"""Runs in the peer's own environment: starts NeMo Evaluator 0.2.8's adapter as its evaluate() does.

`python start_nemo_0_2_8.py JSON` with url, folder and interceptors; the port comes from ADAPTER_PORT.
"""

import json
import signal
import sys

from nemo_evaluator.adapters.adapter_config import AdapterConfig
from nemo_evaluator.adapters.server import AdapterServerProcess
from nemo_evaluator.api.api_dataclasses import (
    ApiEndpoint,
    Evaluation,
    EvaluationConfig,
    EvaluationTarget,
)


def main() -> None:
    """Start the server process and wait for the end."""
    settings = json.loads(sys.argv[1])
    adapter_config = AdapterConfig(interceptors=settings["interceptors"])
    endpoint = ApiEndpoint(url=settings["url"], model_id="m", type="chat", adapter_config=adapter_config)
    evaluation = Evaluation(
        command="true",
        framework_name="benchmark",
        pkg_name="benchmark",
        config=EvaluationConfig(output_dir=settings["folder"]),
        target=EvaluationTarget(api_endpoint=endpoint),
    )
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    with AdapterServerProcess(evaluation):
        signal.pause()


if __name__ == "__main__":
    main()
