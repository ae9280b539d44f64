"""Runs in the peer's own environment: starts NeMo Evaluator 0.3.0's adapter proxy.

Its orchestrator adds a store of model traffic; without it the peer is the faster.

`python start_nemo_0_3_0.py JSON` with the arguments of start_adapter_proxy.
"""

import json
import signal
import sys

from nemo_evaluator.adapters import start_adapter_proxy


def main() -> None:
    """Start the proxy's thread and wait for the end."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    start_adapter_proxy(**json.loads(sys.argv[1]))
    signal.pause()


if __name__ == "__main__":
    main()
