"""Bad input that is refused before an engine starts: exit code, what / where / next, within five seconds."""

import json
import re
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
import yaml
from tests.kit.bad_input import Row, assert_refused, typed

from evaldock.registry import load_registry
from evaldock.supply.lock import ImagesLock, LockedImage, write_lock
from evaldock.supply.paths import checkout_root
from evaldock.testkit.fake_endpoint import running_endpoint
from evaldock_entrypoints.contract.errors import ExitCode

pytestmark = pytest.mark.slow  # every row is a command of its own

KEY = "sk-the-right-one"
CHAT = "target: {api_endpoint: {url: '{URL}', model_id: fake-model, type: chat}}\n"
LOGPROB = "target: {api_endpoint: {url: '{URL}', model_id: fake-model, type: completions_logprob}}\n"
GSM8K = "evaluation: {tasks: [{name: gsm8k, params: {extra: {num_fewshot: 0}}}]}\n"
GOOD = CHAT.replace("{URL}", "{GOOD}") + GSM8K

DOCUMENTS = [
    Row(
        name="unknown key",
        document=GOOD + "exection: {type: local}\n",
        what='unknown key "exection"',
        where="eval.yaml:3  exection",
        next_step='did you mean "execution"?',
    ),
    Row(
        name="unknown nested key",
        document="evaluation:\n  tasks:\n    - name: gsm8k\n      params:\n        limit_sample: 3\n",
        what='unknown key "limit_sample"',
        where="eval.yaml:5  evaluation.tasks[0].params.limit_sample",
        next_step='did you mean "limit_samples"?',
    ),
    Row(
        name="unknown extra",
        document=CHAT.replace("{URL}", "{GOOD}") + "evaluation:\n  tasks:\n    - name: gsm8k\n      params:\n"
        "        extra:\n          num_fewshots: 0\n",
        what='"num_fewshots"',
        where="eval.yaml:7  evaluation.tasks[0].params.extra.num_fewshots",
        next_step='did you mean "num_fewshot"?',
    ),
    Row(
        name="unknown key of an override",
        document=GOOD,
        argv=("run", "eval.yaml", "-o", "deployment.modle_path=m.gguf"),
        what='unknown key "modle_path"',
        where="-o deployment.modle_path",
        next_step='did you mean "model_path"?',
    ),
    Row(
        name="wrong type",
        document=GOOD + "execution:\n  nodes: several\n",
        what="execution.nodes",
        where="eval.yaml:4  execution.nodes",
        next_step="whole number",
    ),
    Row(
        name="wrong type of an extra",
        document=GOOD.replace("num_fewshot: 0", "num_fewshot: zero"),
        what='"num_fewshot"',
        where="eval.yaml:2  evaluation.tasks[0].params.extra.num_fewshot",
        next_step="whole number",
    ),
    Row(
        name="malformed YAML",
        document="evaluation:\n  tasks: [gsm8k\n",
        what="malformed YAML",
        where="eval.yaml:3",
        next_step="quote",
    ),
    Row(
        name="doubled key",
        document=GOOD + "output: {dir: a}\noutput: {dir: b}\n",
        what='the key "output" stands twice',
        where="eval.yaml:4  output",
        next_step="remove one",
    ),
    Row(
        name="missing document",
        argv=("run", "none.yaml"),
        what="cannot read none.yaml",
        where="none.yaml",
        next_step="check the path",
    ),
    Row(
        name="missing model",
        document=GSM8K + "deployment:\n  type: llamacpp\n  model_path: none.gguf\n",
        what="none.gguf does not exist",
        where="eval.yaml:4  deployment.model_path",
        next_step="check the path",
    ),
    Row(
        name="missing path of an extra",
        document=GOOD.replace("num_fewshot: 0", "num_fewshot: 0, tokenizer: no/folder"),
        what="no/folder does not exist",
        where="eval.yaml:2  evaluation.tasks[0].params.extra.tokenizer",
        next_step="check the path",
    ),
    Row(
        name="literal secret",
        document="target:\n  api_endpoint:\n    url: '{GOOD}'\n    api_key: sk-1234\n" + GSM8K,
        what='a literal secret stands under "target.api_endpoint.api_key"',
        where="eval.yaml:4",
        next_step="api_key_name: MY_VARIABLE",
    ),
    Row(
        name="login in the address",
        document=GOOD.replace("http://", "http://me:secret@").replace(
            "{GOOD}", "http://me:pw@127.0.0.1:9/v1"
        ),
        what="the endpoint's address holds a login",
        where="eval.yaml:1  target.api_endpoint.url",
        next_step="api_key_name",
    ),
    Row(
        name="unset key variable",
        document=GOOD.replace("type: chat", "api_key_name: NO_SUCH_KEY"),
        what="the variable NO_SUCH_KEY is not set",
        where="eval.yaml:1  target.api_endpoint.api_key_name",
        next_step="export NO_SUCH_KEY=",
    ),
    Row(
        name="unknown task",
        document=GOOD.replace("gsm8k", "gsm9k"),
        what='no harness has the task "gsm9k"',
        where="eval.yaml:2  evaluation.tasks[0].name",
        next_step='"gsm8k"',
    ),
    Row(
        name="task of another harness",
        document=GOOD.replace("gsm8k", "human-eval.gsm8k"),
        what='no harness has the task "human-eval.gsm8k"',
        where="eval.yaml:2  evaluation.tasks[0].name",
        next_step='"lm-eval.gsm8k"',
    ),
    Row(
        name="wrong endpoint type",
        document=CHAT.replace("{URL}", "{GOOD}") + "evaluation: {tasks: [arc_challenge]}\n",
        what='"arc_challenge" of lm-eval needs log-probabilities, and endpoint type "chat" cannot give them',
        where="eval.yaml:1  target.api_endpoint.type: chat",
        next_step="set type: completions_logprob",
    ),
    Row(
        name="not an address",
        document=GOOD.replace("{GOOD}", "localhost:8000"),
        what='"localhost:8000" is not an http(s) address',
        where="eval.yaml:1  target.api_endpoint.url",
        next_step="http://HOST:PORT/v1/chat/completions",
    ),
    Row(
        name="missing few-shot data",
        document=CHAT.replace("{URL}", "{GOOD}") + "evaluation:\n  tasks:\n    - gsm8k\n",
        what='the few-shot examples of "gsm8k"',
        where="params.extra.num_fewshot",
        next_step="num_fewshot: 0",
    ),
    Row(
        name="part that is not built",
        document=GOOD + "execution:\n  type: lepton\n",
        what="not built yet",
        where="eval.yaml:4  execution.type: lepton",
        next_step="local",
    ),
    Row(
        name="output below a file",
        document=GOOD + "output:\n  dir: eval.yaml/results\n",
        what="cannot create",
        where="eval.yaml:4  output.dir",
        next_step="name a writable folder",
    ),
    Row(
        name="engine missing",
        document=GOOD,
        code=ExitCode.EXECUTION,
        what="no container engine answers",
        where="DOCKER_HOST=unix:",
        next_step="start that engine",
    ),
    Row(
        name="image missing",
        document=GOOD,
        env={"XDG_DATA_HOME": "{HOME}/nothing-built"},
        code=ExitCode.PIN,
        what='the image "lm-eval" is neither built on this machine nor published',
        where="images.lock",
        next_step="evaldock build lm-eval",
    ),
    Row(
        name="damaged images.lock",
        document=GOOD,
        env={"XDG_DATA_HOME": "{HOME}/damaged"},
        code=ExitCode.PIN,
        what="cannot be read",
        where="images.lock",
        next_step="evaldock build",
    ),
]

COMMAND_LINES = [
    Row(
        name="unknown command",
        argv=("rnu", "eval.yaml"),
        what='no command "rnu"',
        where="evaldock rnu",
        next_step='did you mean "run"?',
    ),
    Row(
        name="unknown option",
        argv=("run", "--limit_sample", "3", "eval.yaml"),
        what="--limit_sample",
        where="evaldock run",
        next_step='did you mean "--limit_samples"?',
    ),
    Row(
        name="option without its value",
        argv=("run", "eval.yaml", "-o"),
        what="-o",
        where="evaldock run",
        next_step="evaldock run --help",
    ),
    Row(
        name="override that is none",
        document=GOOD,
        argv=("run", "eval.yaml", "-o", "execution.gpus"),
        what='the override "execution.gpus" is not key=value',
        where="-o",
        next_step="-o execution.gpus=VALUE",
    ),
    Row(
        name="unknown run",
        argv=("resume", "2031"),
        what='no run begins with "2031"',
        where="results",
        next_step="evaldock run",
    ),
    Row(
        name="no document",
        argv=("run",),
        what="no document given",
        where="evaldock run",
        next_step="evaldock run eval.yaml",
    ),
]

ENDPOINTS = [
    Row(
        name="unreachable endpoint",
        document=GOOD.replace("{GOOD}", "http://127.0.0.1:9/v1"),
        code=ExitCode.ENDPOINT,
        what="the endpoint does not answer",
        where="http://127.0.0.1:9/v1",
        next_step="target.api_endpoint.url",
    ),
    Row(
        name="unresolvable endpoint",
        document=GOOD.replace("{GOOD}", "http://no-such-host.invalid/v1"),
        code=ExitCode.ENDPOINT,
        what="no-such-host.invalid",
        where="http://no-such-host.invalid/v1",
        next_step="target.api_endpoint.url",
    ),
    Row(
        name="401 without a key",
        document=CHAT.replace("{URL}", "{KEYED}") + GSM8K,
        code=ExitCode.ENDPOINT,
        what="the endpoint wants a key",
        where="answered 401",
        next_step="api_key_name",
    ),
    Row(
        name="401 with the wrong key",
        document=CHAT.replace("{URL}", "{KEYED}").replace("type: chat", "type: chat, api_key_name: WRONG_KEY")
        + GSM8K,
        env={"WRONG_KEY": "sk-wrong"},
        code=ExitCode.ENDPOINT,
        what="the endpoint refuses the key",
        where="answered 401",
        next_step="WRONG_KEY",
    ),
    Row(
        name="404",
        document=CHAT.replace("{URL}", "{ABSENT}") + GSM8K,
        code=ExitCode.ENDPOINT,
        what="the endpoint has no such route",
        where="/v1/chat/completions answered 404",
        next_step="target.api_endpoint.url",
    ),
    Row(
        name="wrong model id",
        document=GOOD.replace("fake-model", "fake-modle"),
        code=ExitCode.ENDPOINT,
        what='the endpoint does not serve the model "fake-modle"',
        where="{GOOD}",
        next_step='did you mean "fake-model"?',
    ),
    Row(
        name="shifted log-probabilities",
        document=LOGPROB.replace("{URL}", "{SHIFTED}") + "evaluation: {tasks: [arc_easy]}\n",
        code=ExitCode.ENDPOINT,
        what="log-probabilities",
        where="/v1/completions",
        next_step="whose prompt log-probabilities are right",
    ),
    Row(
        name="constant log-probabilities",
        document=LOGPROB.replace("{URL}", "{CONSTANT}") + "evaluation: {tasks: [arc_easy]}\n",
        code=ExitCode.ENDPOINT,
        what="the log-probabilities are constant",
        where="/v1/completions",
        next_step="whose prompt log-probabilities are right",
    ),
]


@pytest.fixture(scope="module")
def endpoints() -> Iterator[dict[str, str]]:
    """Addresses of endpoints: a good one, and some that lack something."""
    key = {"RIGHT_KEY": KEY}
    with ExitStack() as stack:
        urls = {
            "GOOD": stack.enter_context(running_endpoint()).url,
            "KEYED": stack.enter_context(running_endpoint(api_key_name="RIGHT_KEY", env=key)).url,
            "ABSENT": stack.enter_context(running_endpoint(faults=[{"action": "status", "status": 404}])).url,
            "SHIFTED": stack.enter_context(running_endpoint(logprobs_bug="shifted")).url,
            "CONSTANT": stack.enter_context(running_endpoint(logprobs_bug="constant")).url,
        }
        yield {name: f"{url}/v1" for name, url in urls.items()}


@pytest.fixture
def names(tmp_path: Path, endpoints: dict[str, str]) -> dict[str, str]:
    return {**endpoints, "HOME": str(tmp_path)}


@pytest.fixture
def env(tmp_path: Path) -> dict[str, str]:
    """Surroundings in which every image is built and no engine answers."""
    write_lock(made_up_lock(), tmp_path / "data" / "evaldock" / "images.lock")
    damaged = tmp_path / "damaged" / "evaldock"
    damaged.mkdir(parents=True)
    (damaged / "images.lock").write_text("images: [", encoding="utf-8")
    return {
        "XDG_DATA_HOME": str(tmp_path / "data"),
        "XDG_CACHE_HOME": str(tmp_path / "cache"),
        "DOCKER_HOST": f"unix://{tmp_path}/none.sock",
        "NO_PROXY": "*",
    }


def made_up_lock() -> ImagesLock:
    """Return a lock with every image of the catalogue in it."""
    registry = load_registry()
    digest = "sha256:" + "0" * 64
    images = {
        name: LockedImage(
            name=name,
            kind="entrypoints" if entry.kind == "adapter" else entry.kind,
            version="1",
            digest=digest,
            image_id=digest,
            size_bytes=1,
            input_hash=digest,
        )
        for name, entry in registry.images.items()
    }
    return ImagesLock(images=images)


@pytest.mark.parametrize("row", [*DOCUMENTS, *COMMAND_LINES, *ENDPOINTS], ids=str)
def test_bad_input_is_refused(row: Row, tmp_path: Path, names: dict[str, str], env: dict[str, str]) -> None:
    filled = Row(**{**row.__dict__, "where": row.where.replace("{GOOD}", names["GOOD"])})
    assert_refused(filled, *typed(row, tmp_path, names, env))


AMBIGUOUS = Row(
    name="ambiguous task",
    document=GOOD,
    argv=("--registry", "two.yaml", "run", "eval.yaml"),
    what='several harnesses have the task "gsm8k"',
    where="eval.yaml:2  evaluation.tasks[0].name",
    next_step="lm-eval.gsm8k",
)


def test_an_ambiguous_task_is_refused(tmp_path: Path, names: dict[str, str], env: dict[str, str]) -> None:
    catalogue = yaml.safe_load((checkout_root() / "registry.yaml").read_text(encoding="utf-8"))
    other = json.loads(json.dumps(catalogue["harnesses"]["lm-eval"])) | {"aliases": []}
    other["definition"]["framework"]["name"] = "other-eval"
    catalogue["harnesses"]["other-eval"] = other
    catalogue["default_harness"] = {}
    (tmp_path / "two.yaml").write_text(yaml.safe_dump(catalogue), encoding="utf-8")
    assert_refused(AMBIGUOUS, *typed(AMBIGUOUS, tmp_path, names, env))


FULL_DISK = Row(
    name="full disk",
    code=ExitCode.EXECUTION,
    document=GOOD + "output:\n  dir: disk/results\n",
    what="No space left on device",
    where="disk/results",
    next_step="free",
)
READ_ONLY = Row(
    name="read-only output",
    document=GOOD + "output:\n  dir: disk/results\n",
    what="cannot create",
    where="output.dir",
    next_step="name a writable folder",
)
# Inside a mount namespace of their own these need no rights and leave nothing behind.
_IN_NAMESPACE = ("unshare", "--mount", "--map-root-user", "sh", "-c")
FULL = 'mount -t tmpfs -o size=16k full disk; head -c 64k /dev/zero >disk/filler; exec "$@"'
LOCKED = 'mount -t tmpfs -o ro locked disk; exec "$@"'


@pytest.mark.parametrize(
    ("row", "mounting"), [(FULL_DISK, FULL), (READ_ONLY, LOCKED)], ids=["full", "locked"]
)
def test_an_output_folder_that_takes_nothing_is_refused(
    row: Row, mounting: str, tmp_path: Path, names: dict[str, str], env: dict[str, str]
) -> None:
    (tmp_path / "disk").mkdir()
    under = (*_IN_NAMESPACE, mounting, "sh")
    if subprocess.run(
        [*_IN_NAMESPACE, mounting, "sh", "true"], cwd=tmp_path, check=False, timeout=10
    ).returncode:
        pytest.skip("this machine gives no mount namespaces to its users")
    assert_refused(row, *typed(row, tmp_path, names, env, under))


# docs/errors.md shows what is said.
_ROWS = {row.name: row for row in (*DOCUMENTS, *COMMAND_LINES, *ENDPOINTS)}
_SHOWN = dict(
    re.findall(
        r"<!-- row: (.+?) -->\n```\n(.+?)```\n",
        (checkout_root() / "docs" / "errors.md").read_text(encoding="utf-8"),
        re.DOTALL,
    )
)


def test_the_error_page_shows_ten_messages_at_least() -> None:
    assert len(_SHOWN) >= 10
    assert set(_SHOWN) <= set(_ROWS)


@pytest.mark.parametrize("name", _SHOWN)
def test_the_error_page_shows_what_is_said(
    name: str, tmp_path: Path, names: dict[str, str], env: dict[str, str]
) -> None:
    ended, _ = typed(_ROWS[name], tmp_path, names, env)
    said = ended.err[ended.err.index("evaldock: error: ") :].replace(f"{tmp_path}/", "")
    assert re.sub(r"http://127\.0\.0\.1:\d{4,}", "http://HOST:PORT", said) == _SHOWN[name]
