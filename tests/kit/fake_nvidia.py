"""An NVIDIA container toolkit without NVIDIA: what an engine calls, and what a container then sees.

The hook has the name by which dockerd, where it finds it on its PATH, knows the toolkit, and calls it before
a container starts. Ours makes as many device nodes as are asked for, up to a bound, in the container that is
coming up, by entering its mount namespace.
"""

import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

_HOOK = """#!{python}
import json, subprocess, sys
state = json.load(sys.stdin)
config = json.load(open(state["bundle"] + "/config.json"))
asked = dict(entry.split("=", 1) for entry in config["process"]["env"])["NVIDIA_VISIBLE_DEVICES"]
ids = range({present}) if asked == "all" else [int(word) for word in asked.split(",")][:{present}]
enter = ["nsenter", "--target", str(state["pid"]), "--mount", "--"]
root = config["root"]["path"]
for number in range(len(ids)):
    subprocess.run([*enter, "mknod", f"{{root}}/dev/nvidia{{number}}", "c", "1", "3"], check=True)
if {smi!r}:
    lines = "".join("GPU %d: Fake H100 (UUID: GPU-fake-%d)\\n" % (place, id) for place, id in enumerate(ids))
    text = "#!/bin/sh\\ncat <<END\\n" + lines + "END\\n" + {smi!r}
    subprocess.run([*enter, "tee", f"{{root}}/usr/bin/nvidia-smi"], input=text.encode(), check=True, stdout=2)
    subprocess.run([*enter, "chmod", "755", f"{{root}}/usr/bin/nvidia-smi"], check=True)
"""


def write_hook(folder: Path, *, present: int, smi: str = "") -> None:
    """Write the hook. present: how many GPUs there are; smi: last line of an nvidia-smi for the container."""
    path = folder / "nvidia-container-runtime-hook"
    path.write_text(_HOOK.format(python=sys.executable, present=present, smi=smi), encoding="utf-8")
    path.chmod(0o755)


def write_cdi(folder: Path, nodes: Mapping[str, Sequence[int]]) -> Path:
    """Write a CDI specification: of each name of a GPU the device nodes that a container gets for it."""
    devices = [
        {
            "name": name,
            "containerEdits": {
                "env": [f"FAKE_GPU={name}"],
                "deviceNodes": [
                    {"path": f"/dev/nvidia{number}", "hostPath": "/dev/null"} for number in numbers
                ],
            },
        }
        for name, numbers in nodes.items()
    ]
    path = folder / "evaldock-fake.json"
    spec = {"cdiVersion": "0.3.0", "kind": "nvidia.com/gpu", "devices": devices}
    path.write_text(json.dumps(spec), encoding="utf-8")
    return path
