"""A harness folder that names a small wheel, and an environment that holds it."""

import hashlib
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from evaldock_entrypoints.contract.endpoint import endpoint_at
from evaldock_entrypoints.contract.framework import load_framework
from evaldock_entrypoints.contract.tasks import effective_extras, effective_params, plain
from evaldock_entrypoints.run_eval.job import Job

DEFINITION = """
framework: {name: small, pkg_name: small}
defaults:
  command: >-
    export KEY=${{target.api_endpoint.api_key_name}} &&
    small-eval --task {{config.params.task}} --model {{target.api_endpoint.model_id}}
    --url {{target.api_endpoint.url}} --type {{target.api_endpoint.type}} --out {{config.output_dir}}
    --retries {{config.params.max_retries}} --timeout {{config.params.request_timeout}}
    --n {{config.params.extra.n_samples}} --lang {{config.params.extra.language}}
    {% if config.params.limit_samples is not none %}--limit {{config.params.limit_samples}}{% endif %}
    {% if config.params.extra.judge.url is not none %}--judge {{config.params.extra.judge.url}}{% endif %}
    {% if config.params.extra.args is defined %}{{config.params.extra.args}}{% endif %}
  config:
    params:
      request_timeout: 60.0
      max_retries: 5
      extra: {n_samples: 4, language: en, judge: {url: null, model_id: null, api_key: null, top_p: 0.5}}
evaluations:
  - name: Plain
    defaults: {config: {type: plain, supported_endpoint_types: [chat], params: {task: the-plain}}}
  - name: Spaced
    defaults:
      config:
        type: spaced
        supported_endpoint_types: [completions]
        required_capabilities: [logprobs]
        params: {task: s, extra: {args: "--own 'two words'"}}
"""
PROGRAM = '#!/bin/sh\nfor word in "$@"; do printf "%s\\n" "$word"; done > "$OUT/argv"\n'


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The harness folder; its environment stands in tmp_path/env."""
    package = tmp_path / "env" / "lib" / "python3.11" / "site-packages" / "core_evals" / "small"
    package.mkdir(parents=True)
    (package / "framework.yml").write_text(DEFINITION, encoding="utf-8")
    program = tmp_path / "env" / "bin" / "small-eval"
    program.parent.mkdir()
    program.write_text(PROGRAM, encoding="utf-8")
    program.chmod(0o755)
    monkeypatch.setenv("EVALDOCK_HARNESS_PREFIX", str(tmp_path / "env"))
    made = tmp_path / "small"
    made.mkdir()
    (made / "vendor.yml").write_text(DEFINITION, encoding="utf-8")
    declare(made)
    return made


def declare(folder: Path, **vendor: Any) -> None:
    """Write framework.yml, with these keys under `vendor`."""
    about = {"name": "small", "version": "1", "description": "d", "source": "s", "license": "MIT"}
    named = {
        "package": "nvidia-small",
        "definition": "core_evals/small/framework.yml",
        "sha256": hashlib.sha256(DEFINITION.encode()).hexdigest(),
        **vendor,
    }
    (folder / "framework.yml").write_text(json.dumps({"framework": about, "vendor": named}), encoding="utf-8")


@pytest.fixture
def job_of(folder: Path, tmp_path: Path) -> Callable[..., Job]:
    """Makes a job of one of the wheel's tasks."""

    def make(task_name: str = "plain", *, model_id: str = "org/m-1", **over: Any) -> Job:
        framework = load_framework(folder)
        task = framework.task(task_name)
        assert task is not None
        params, extras = over.pop("params", {}), over.pop("extras", {})
        job = Job(
            framework=framework,
            task=task,
            params={**plain(effective_params(framework, task)), **params},
            extras={**plain(effective_extras(framework, task)), **extras},
            endpoint=endpoint_at(
                "http://h:1/v1", model_id=model_id, endpoint_type=task.endpoint_types[0], api_key_name=None
            ),
            output_dir=tmp_path / "results",
            data_dir=tmp_path,
            harness_dir=folder,
        )
        return replace(job, **over)

    return make
