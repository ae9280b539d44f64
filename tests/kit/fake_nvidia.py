"""An NVIDIA container toolkit without NVIDIA: what an engine calls, and what a container then sees.

The hook has the name by which dockerd, where it finds it on its PATH, knows the toolkit, and calls it before
a container starts. Ours makes as many device nodes as are asked for, up to a bound, in the container that is
coming up, by entering its mount namespace.
"""

import sys
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


def write_cdi(folder: Path, *, present: int, given: int | None = None) -> None:
    """Write a CDI specification of `present` GPUs; "all" gives only the first `given` of them."""
    nodes = [f'{{"path": "/dev/nvidia{number}", "hostPath": "/dev/null"}}' for number in range(present)]
    everything = ", ".join(nodes[:given])
    devices = [
        f'{{"name": "{number}", "containerEdits": {{"deviceNodes": [{node}]}}}}'
        for number, node in enumerate(nodes)
    ]
    devices.append(f'{{"name": "all", "containerEdits": {{"deviceNodes": [{everything}]}}}}')
    (folder / "evaldock-fake.json").write_text(
        f'{{"cdiVersion": "0.3.0", "kind": "nvidia.com/gpu", "devices": [{", ".join(devices)}]}}',
        encoding="utf-8",
    )
