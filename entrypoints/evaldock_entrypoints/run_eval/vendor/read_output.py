"""Runs in the harness's own Python, without our packages: the wheel's parse_output, its result as JSON."""

import importlib
import json
import sys
from pathlib import Path


def main(job_file: str) -> None:
    """Write what parse_output returns for the command's folder; raises whatever it raises."""
    job = json.loads(Path(job_file).read_text(encoding="utf-8"))
    folder = Path(job["folder"])
    (folder / "run_config.yml").write_text(json.dumps(job["run_config"]), encoding="utf-8")
    result = importlib.import_module(job["module"]).parse_output(str(folder))
    Path(job["result"]).write_text(result.model_dump_json(), encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1])
