"""results.py on a recorded report, and the launcher's decisions that need no garak."""

import importlib.util
import json
import sys
import tarfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from evaldock_entrypoints.contract.endpoint import Endpoint
from evaldock_entrypoints.contract.errors import HarnessError
from evaldock_entrypoints.contract.framework import load_framework
from evaldock_entrypoints.run_eval.job import Job
from evaldock_entrypoints.run_eval.outcome import parse
from evaldock_entrypoints.run_eval.phases import template_values
from evaldock_entrypoints.run_eval.prove import prove
from evaldock_entrypoints.run_eval.template import render

HERE = Path(__file__).parent
PARAMS = {"parallelism": 16, "temperature": 0.5, "top_p": 0.9, "max_new_tokens": 99, "request_timeout": 300}
JAILBREAK = "latentinjection.LatentJailbreak"
Row = dict[str, Any]


@pytest.fixture
def job(tmp_path: Path) -> Job:
    """A job whose native folder is that of a recorded run with a limit of four prompts and two repeats.

    goodside.Tag: 2 of 8 answers resisted. lmrc.Profanity: all of 4 did. lmrc.SexualContent: both did, and
    an extended detector was skipped. LatentJailbreak: the primary one was skipped, 2 of 4 prompts failed.
    """
    with tarfile.open(HERE / "fixtures" / "probes.tar.xz") as archive:
        archive.extractall(tmp_path, filter="data")
    framework = load_framework(HERE)
    task = framework.task("probes")
    assert task is not None
    extras = {name: extra.default for name, extra in framework.extras.items()}
    return Job(
        framework=framework,
        task=task,
        params={**PARAMS, "limit_samples": 4, "seed": 42, "repeats": 2},
        extras={**extras, "probes": "goodside.Tag"},
        endpoint=Endpoint(
            base_url="http://endpoint:8080/v1",
            url="http://endpoint:8080/v1/chat/completions",
            model_id="fake-model",
            type="chat",
        ),
        output_dir=tmp_path,
        data_dir=tmp_path / "data",
        harness_dir=HERE,
    )


@pytest.fixture
def launcher(monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    """run_garak.py as a module."""
    monkeypatch.syspath_prepend(str(HERE))
    spec = importlib.util.spec_from_file_location("run_garak", HERE / "run_garak.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    yield module
    del sys.modules["client"]


def rewrite(job: Job, change: Callable[[Row], Row | None]) -> None:
    """Change or drop entries of the report."""
    path = job.native_dir / "garak.report.jsonl"
    rows = [change(json.loads(line)) for line in path.read_text(encoding="utf-8").splitlines()]
    text = "".join(json.dumps(row) + "\n" for row in rows if row is not None)
    path.write_text(text, encoding="utf-8")


def without_jailbreak(job: Job) -> None:
    """Leave the probe out that got no score, as if it had not been asked for."""
    rewrite(job, lambda row: None if JAILBREAK in (row.get("probe"), row.get("probe_classname")) else row)
    selection = json.loads((job.native_dir / "selection.json").read_text(encoding="utf-8"))
    selection["probes"].remove(JAILBREAK)
    (job.native_dir / "selection.json").write_text(json.dumps(selection), encoding="utf-8")
    counts = (job.native_dir / "counts.jsonl").read_text(encoding="utf-8").splitlines(keepends=True)
    kept = [line for line in counts if JAILBREAK not in line]
    (job.native_dir / "counts.jsonl").write_text("".join(kept), encoding="utf-8")


def test_one_is_resisted_and_each_repeat_is_a_sample(job: Job) -> None:
    without_jailbreak(job)
    outcome = parse(job)
    tag = [sample for sample in outcome.samples if sample.id.startswith("goodside.Tag/")]
    assert len({(sample.id, sample.repeat) for sample in tag}) == 8
    assert {(s.response, s.scores["resisted"], s.correct) for s in tag} >= {
        ("I cannot help with that.", 1.0, True),
        ("Of course: flour", 0.0, False),
    }
    proof = prove(outcome, expected=14)
    assert proof.status == "complete"
    assert proof.groups["probes"]["resisted"].value == pytest.approx(8 / 14)
    assert proof.tasks["goodside.Tag"]["base.TriggerListDetector"].value == 0.25
    assert len(proof.tasks["lmrc.Profanity"]) == 10


def test_a_detector_that_garak_skipped_is_named(job: Job) -> None:
    without_jailbreak(job)
    outcome = parse(job)
    assert outcome.facts["skipped_detectors"] == "perspective.Sexually_Explicit"
    assert any("lmrc.SexualContent: garak skipped the detector perspective" in note for note in outcome.notes)
    assert (
        outcome.notes[0] == "sampled 4 of the 32 prompts of 1 probes with seed 42"
        or "sampled" in (outcome.notes[0])
    )


def test_a_probe_without_its_primary_detector_gets_no_score(job: Job) -> None:
    outcome = parse(job)
    errors = [s.error for s in outcome.samples if s.id.startswith(JAILBREAK) and s.error is not None]
    assert len(errors) == 8
    assert sum(error.message == "garak skipped the probe's primary detector" for error in errors) == 4
    assert sum(error.message.startswith("HTTP 500: ") for error in errors) == 4
    proof = prove(outcome, expected=22)
    assert (proof.status, proof.completeness.scored, proof.completeness.errored) == ("incomplete", 14, 8)


def test_an_answer_without_text_is_an_error(job: Job) -> None:
    without_jailbreak(job)

    def silence(row: Row) -> Row:
        if row.get("probe_classname") == "goodside.Tag" and row["status"] == 2:
            row["outputs"][1]["text"] = None
            row["detector_results"]["base.TriggerListDetector"][1] = None
        return row

    rewrite(job, silence)
    outcome = parse(job)
    errors = [sample.error for sample in outcome.samples if sample.repeat == 1 and sample.error is not None]
    assert [error.kind for error in errors] == ["model"] * 4
    assert prove(outcome, expected=14).status == "incomplete"


def test_a_count_that_the_samples_do_not_carry_is_refused(job: Job) -> None:
    without_jailbreak(job)

    def embellish(row: Row) -> Row:
        return row | {"passed": 8} if row.get("detector") == "base.TriggerListDetector" else row

    rewrite(job, embellish)
    with pytest.raises(HarnessError, match=r"the harness reports 1\.0, its own samples give 0\.25"):
        prove(parse(job), expected=14)


def test_a_report_without_completion_is_no_result(job: Job) -> None:
    """garak ends so, with status 0, when no detector of a probe loads."""
    rewrite(job, lambda row: None if row["entry_type"] == "completion" else row)
    with pytest.raises(HarnessError, match="no completion entry"):
        parse(job)


def test_a_probe_that_garak_passed_over_is_no_result(job: Job) -> None:
    counts = job.native_dir / "counts.jsonl"
    counts.write_text(counts.read_text(encoding="utf-8").splitlines()[0] + "\n", encoding="utf-8")
    with pytest.raises(HarnessError, match=f"probe {JAILBREAK} is not in it"):
        parse(job)


@pytest.mark.parametrize("name", ["garak.report.jsonl", "selection.json", "counts.jsonl"])
@pytest.mark.parametrize("content", [None, "{"])
def test_missing_and_torn_output_is_no_result(job: Job, name: str, content: str | None) -> None:
    (job.native_dir / name).unlink()
    if content is not None:
        (job.native_dir / name).write_text(content, encoding="utf-8")
    with pytest.raises(HarnessError, match="garak left no finished report"):
        parse(job)


def test_the_configuration_carries_the_parameters(job: Job, launcher: ModuleType) -> None:
    rendered = render(job.framework.phases[0].files["run.json"], template_values(job))
    assert launcher.wanted_probes(rendered) == ["goodside.Tag"]
    config = launcher.configuration(rendered, ["goodside.Tag", "promptinject.HijackHateHumans"])
    generator = config["plugins"]["generators"]["openai"]["OpenAICompatible"]
    assert (generator["uri"], generator["temperature"]) == ("http://endpoint:8080/v1", 0.5)
    assert (generator["top_p"], generator["max_tokens"]) == (0.9, 99)
    assert generator["suppressed_params"] == ["seed"]  # two repeats of one prompt are to differ
    assert (config["run"]["seed"], config["run"]["generations"]) == (42, 2)
    assert config["run"]["spec"]["include"][0] == "probes.goodside.Tag"
    assert config["system"]["parallel_attempts"] == 16
    assert config["plugins"]["probes"]["promptinject"] == {"HijackHateHumans": {"generation_params": []}}


def test_a_set_takes_its_probes_from_the_manifest(launcher: ModuleType, tmp_path: Path) -> None:
    manifest = tmp_path / "manifest.json"
    names = [("leakreplay", "leakreplay.NYTCloze"), ("lmrc_profanity", "lmrc.Profanity"), ("dan", "dan.STAN")]
    entries = [{"dataset": dataset, "config": probe} for dataset, probe in names]
    manifest.write_text(json.dumps({"entries": entries}), encoding="utf-8")
    run = {"sets": "lmrc_profanity,leakreplay", "manifest": str(manifest)}
    assert launcher.wanted_probes(run) == ["leakreplay.NYTCloze", "lmrc.Profanity"]
    with pytest.raises(launcher.RefusedError, match="belongs to the task probes"):
        launcher.wanted_probes({**run, "probes": "dan.STAN"})


def test_the_task_probes_needs_some(launcher: ModuleType) -> None:
    with pytest.raises(launcher.RefusedError, match=r"needs params\.extra\.probes"):
        launcher.wanted_probes({"sets": "none", "probes": " ,"})


@pytest.mark.parametrize(("limit", "count"), [(None, 32), (3, 3), (0.1, 4), (900, 32)])
def test_a_limit_is_a_number_or_a_share(launcher: ModuleType, limit: float | None, count: int) -> None:
    assert launcher.asked_count(32, limit) == count


def test_head_is_told_apart_from_a_sample(job: Job) -> None:
    without_jailbreak(job)
    outcome = parse(replace(job, extras={**job.extras, "sampling": "head"}))
    assert outcome.notes[0].startswith("asked the first 4 of 32 prompts (")
