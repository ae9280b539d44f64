"""report.html, parsed as a browser would."""

import base64
import hashlib
import re
from html.parser import HTMLParser
from typing import TYPE_CHECKING, Any

import pytest

from evaldock.analysis.report import write_report
from evaldock_entrypoints.contract.results import MetricClaim

if TYPE_CHECKING:
    from tests.unit.analysis.conftest import RunFolder

HOSTILE = (
    "\x1b[2J\x00\x9b</pre></script><script>alert(1)</script><img src=x onerror=alert(1)>\u202egnp.exe\u2066"
    "{{ 7 * 7 }}{% raw %}<style>@import 'http://evil.example/x.css'</style>"
)


class Page(HTMLParser):
    """Tags with their attributes, and the text between them."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.html = html
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[str] = []
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.texts.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.texts).split())

    def names(self) -> set[str]:
        return {tag for tag, _ in self.tags}


def report(run: "RunFolder") -> Page:
    return Page(write_report(run.path).read_text(encoding="utf-8"))


def assert_harmless(page: Page) -> None:
    assert page.names().isdisjoint({"script", "img", "iframe", "object", "embed", "link", "base", "form"})
    assert [tag for tag, _ in page.tags].count("style") == 1
    for _, attributes in page.tags:
        assert not any(name.startswith("on") or name in ("src", "style") for name in attributes)
        assert (attributes.get("href") or "#").startswith("#")
    assert not re.search(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]", page.html)


@pytest.fixture
def mixed(run: "RunFolder") -> "RunFolder":
    """A run with tasks that ended in every way."""
    run.finish(run.job("arc_easy", limit_samples=100), run.answers(100, 56))
    claims = [
        MetricClaim(task="mmlu", name="acc", value=None, score="acc", group=True),
        MetricClaim(task="mmlu_anatomy", name="acc", value=None, score="acc", within="mmlu_anatomy/"),
    ]
    run.finish(run.job("mmlu"), run.answers(10, 4, prefix="mmlu_anatomy/"), claims=claims)
    run.finish(run.job("piqa"), [*run.answers(28, 14), run.errored("e")], expected=40)
    run.fail(run.job("hellaswag"))
    run.job("winogrande")
    (run.job("boolq").output_dir / "results.yml").write_text("{")
    return run


def test_every_metric_is_shown_with_its_interval(mixed: "RunFolder") -> None:
    page = report(mixed)
    for figure in ("0.5600", "± 0.0499", "[0.462, 0.653]", "0.4000", "mmlu_anatomy", "(0.5000)"):
        assert figure in page.text
    assert_harmless(page)


def test_a_partial_figure_is_drawn_hollow_and_without_an_interval(run: "RunFolder") -> None:
    run.finish(run.job("piqa"), run.answers(28, 14), expected=40)
    page = report(run)
    classes = [attributes.get("class") for _, attributes in page.tags]
    assert "hollow" in classes
    assert "dot" not in classes
    assert "whisker" not in classes
    assert "value" not in classes


def test_warnings_come_first_and_say_what_to_do(mixed: "RunFolder") -> None:
    text = report(mixed).text
    assert text.index("4 of 6 tasks carry no score") < text.index("Std. error")
    assert "lm-eval.piqa: incomplete (12 of 40 missing)" in text
    assert "the harness exited with status 1" in text
    assert "boom" in text
    assert "its results cannot be read" in text
    assert f"evaldock resume {mixed.path.name}" in text


def test_a_whole_run_has_no_warning(run: "RunFolder") -> None:
    run.finish(run.job("arc_easy"), run.answers(20, 11))
    page = report(run)
    assert "no score" not in page.text
    assert "warning" not in [attributes.get("class") for _, attributes in page.tags]


def test_settings_notes_and_origin_of_the_data_are_shown(run: "RunFolder") -> None:
    job = run.job("gsm8k", note="a footgun", max_new_tokens=256, extras={"num_fewshot": 5})
    run.finish(job, run.answers(20, 1), num_fewshot=5)
    text = report(run).text
    for part in ("256 default 512", "extra.num_fewshot", "a footgun", "bench/gsm8k / default, test"):
        assert part in text
    assert "2,376 records" in text
    assert "sha256 4f0b4f0b" in text
    assert "latency p95" in text


def test_it_says_which_samples_it_shows(run: "RunFolder") -> None:
    run.finish(run.job("arc_easy"), run.answers(100, 56))
    page = report(run)
    assert "the first 25 of 44 wrong, the first 25 of 56 right" in page.text
    assert sum(attributes.get("class") == "sample" for _, attributes in page.tags) == 50


def test_hostile_text_is_shown_and_not_obeyed(run: "RunFolder") -> None:
    hostile: dict[str, Any] = {
        "response": HOSTILE,
        "extracted_answer": HOSTILE,
        "target": HOSTILE,
        "finish_reason": HOSTILE,
    }
    claims = [MetricClaim(task=HOSTILE, name=HOSTILE, value=None, score="acc")]
    run.finish(run.job("arc_easy"), run.answers(2, 1, **hostile), claims=claims, notes=[HOSTILE])
    run.finish(run.job("piqa"), [run.sample("a", True), run.errored("e", HOSTILE)])
    page = report(run)
    assert_harmless(page)
    assert "␛[2J␀⟨U+009B⟩</pre></script><script>alert(1)" in page.text
    assert "⟨U+202E⟩gnp.exe⟨U+2066⟩{{ 7 * 7 }}" in page.text


def test_a_mebibyte_of_answer_is_cut_with_a_note(run: "RunFolder") -> None:
    run.finish(run.job("arc_easy"), [run.sample("a", True, response="A" * 1024**2)])
    page = report(run)
    assert "cut here: 1,044,576 more characters stand in samples.jsonl.zst" in page.text
    assert len(page.html) < 100_000


def test_its_policy_allows_its_own_style_and_nothing_else(run: "RunFolder") -> None:
    page = report(run)
    (policy,) = [a["content"] for t, a in page.tags if t == "meta" and a.get("http-equiv")]
    style = page.html[page.html.index("<style>") + 7 : page.html.index("</style>")]
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    assert policy is not None
    assert policy.startswith(f"default-src 'none'; style-src 'sha256-{digest}';")
    assert "url(" not in style
    assert "@import" not in style


def test_an_address_with_a_password_is_not_shown(run: "RunFolder") -> None:
    run.fail(run.job("piqa"))
    document = "target: {api_endpoint: {url: 'https://me:hunter2@host/v1'}}\nevaluation: {tasks: [piqa]}\n"
    (run.path / "run.yaml").write_text(document)
    page = report(run)
    assert "https://***@host/v1" in page.text
    assert "hunter2" not in page.html


def test_a_metric_that_is_no_share_is_listed_and_not_drawn(run: "RunFolder") -> None:
    claims = [MetricClaim(task="wikitext", name="word_perplexity", value=None, score="acc")]
    samples = [run.sample(str(n), True, scores={"acc": 20.0 + n}) for n in range(4)]
    run.finish(run.job("wikitext"), samples, claims=claims)
    page = report(run)
    assert "21.5000" in page.text
    assert "dot" not in [attributes.get("class") for _, attributes in page.tags]


def test_requests_and_the_seal_are_shown(run: "RunFolder") -> None:
    run.finish(run.job("arc_easy"), run.answers(20, 10))
    text = report(run).text
    assert "20, of these 0 from the store, 0 after a retry" in text
    assert "sealed: no way out of the harness's container" in text
