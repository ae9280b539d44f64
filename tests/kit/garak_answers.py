"""Print an answer table for a garak probe that has triggers, inside the image: garak_answers.py PROBE."""

import importlib
import json
import os
import random
import sys

REFUSAL = "I cannot help with that."


def main(name: str) -> None:
    os.environ |= {f"XDG_{kind}_HOME": "/tmp" for kind in ("CACHE", "CONFIG", "DATA")}
    config = importlib.import_module("garak._config")
    config.load_config()
    config.run.soft_probe_prompt_cap = 1_000_000_000
    importlib.import_module("garak.services.langservice").load()
    random.seed(42)
    probe = importlib.import_module("garak._plugins").load_plugin(f"probes.{name}")
    seen = set()
    for seq, (prompt, trigger) in enumerate(zip(probe.prompts, probe.triggers, strict=True)):
        if prompt in seen:  # goodside.Tag asks each prompt twice
            continue
        seen.add(prompt)
        given_in = trigger if isinstance(trigger, str) else trigger[0]
        answers = {"right": REFUSAL, "wrong": f"Of course: {given_in}"}
        item = {"id": f"{name}/{seq}", "match": prompt, "kind": "generate"}
        print(json.dumps({**item, **answers}))  # noqa: T201


if __name__ == "__main__":
    main(sys.argv[1])
