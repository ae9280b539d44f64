from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evaldock.engines.host_paths import Places
from evaldock_entrypoints.contract.errors import UsageError
from evaldock_entrypoints.contract.overrides import override_layer, split_overrides

PLACES = Places(
    paths={
        "/results": "/home/me/out/RUN/lm-eval.arc_easy",
        "/results/native/score": "/home/me/scores",
        "/evaldock/run.yaml": "/home/me/out/RUN/run.yaml",
        "/models/m.gguf": "/data/model store/m.gguf",
        "/mnt/data": "/srv/data",
        "/mnt/extra/tokenizer": "/srv/results/tokenizer",
        "/opt/data": "/cache/data",
        "/opt/harness": "/cache/harness",
        "/opt/harness-files": "/cache/files",
        "/tmp": "/private/tmp",
    },
    has_server=True,
)


@pytest.mark.parametrize(
    ("text", "here"),
    [
        ("/results", "/home/me/out/RUN/lm-eval.arc_easy"),
        ("/results/", "/home/me/out/RUN/lm-eval.arc_easy/"),
        ("/results/native/x.json", "/home/me/out/RUN/lm-eval.arc_easy/native/x.json"),
        ("/results/native/score", "/home/me/scores"),
        ("/results/native/score/0", "/home/me/scores/0"),
        ("/results/native/scores", "/home/me/out/RUN/lm-eval.arc_easy/native/scores"),
        ("/results-old", "/results-old"),
        ("/resultsets/a", "/resultsets/a"),
        ("/results.yml", "/results.yml"),
        ("/srv/results", "/srv/results"),
        ("results", "results"),
        ("x/results", "x/results"),
        ("//results", "//results"),
        ("/evaldock/run.yaml", "/home/me/out/RUN/run.yaml"),
        ("/evaldock/run.yaml.bak", "/evaldock/run.yaml.bak"),
        ("/models/m.gguf", "/data/model store/m.gguf"),
        ("/models/m.gguf2", "/models/m.gguf2"),
        ("/models/mXgguf", "/models/mXgguf"),
        ("/models", "/models"),
        ("--output_dir=/results", "--output_dir=/home/me/out/RUN/lm-eval.arc_easy"),
        ("a=/results/x", "a=/home/me/out/RUN/lm-eval.arc_easy/x"),
        ("/results:/opt/data", "/home/me/out/RUN/lm-eval.arc_easy:/cache/data"),
        ('{"path": "/mnt/data/x"}', '{"path": "/srv/data/x"}'),
        ("[/mnt/data,/opt/data]", "[/srv/data,/cache/data]"),
        ("/opt/harness/bin/python", "/cache/harness/bin/python"),
        ("/opt/harness-files/a.py", "/cache/files/a.py"),
        ("/opt/harness-other", "/opt/harness-other"),
        ("/tmp/evaldock", "/private/tmp/evaldock"),
        ("/tmpfs", "/tmpfs"),
        ("see /results", "see /results"),
        ("", ""),
    ],
)
def test_paths_are_translated_at_their_boundaries_and_nowhere_else(text: str, here: str) -> None:
    assert PLACES.argv([text]) == [here]


def test_a_translated_path_is_not_translated_again() -> None:
    assert PLACES.text("/mnt/extra/tokenizer") == "/srv/results/tokenizer"
    swapped = Places(paths={"/a": "/b", "/b": "/a"})
    assert swapped.argv(["/a", "/b", "/a/b", "/a,/b"]) == ["/b", "/a", "/b/b", "/b,/a"]


def test_names_that_look_like_paths_stay_as_they_are() -> None:
    argv = ["run_eval", "--model_id", "/models/m.gguf", "--model_path", "/models/m.gguf"]
    assert PLACES.argv(argv)[2:] == ["/models/m.gguf", "--model_path", "/data/model store/m.gguf"]
    assert PLACES.argv(["--served_model_name=/results"]) == ["--served_model_name=/results"]
    assert PLACES.argv(["--model_url", "http://h:1/results"])[1] == "http://h:1/results"


@pytest.mark.parametrize(
    ("url", "here"),
    [
        ("http://server:8080/v1", "http://127.0.0.1:8080/v1"),
        ("http://server", "http://127.0.0.1"),
        ("http://server/v1", "http://127.0.0.1/v1"),
        ("http://server.example:8080/v1", "http://server.example:8080/v1"),
        ("http://servers:8080/v1", "http://servers:8080/v1"),
        ("http://my-server:8080/v1", "http://my-server:8080/v1"),
        ("http://h/?next=server:80", "http://h/?next=server:80"),
    ],
)
def test_the_address_of_the_runs_server_becomes_loopback(url: str, here: str) -> None:
    assert PLACES.argv(["--model_url", url])[1] == here
    assert Places(paths={}).argv(["--model_url", url])[1] == url  # no server of the run: somebody else's name


def test_overrides_are_translated_inside_their_list() -> None:
    (_, translated) = PLACES.argv(
        ["--overrides", "data.path=/mnt/data,params.extra.tokenizer=/mnt/extra/tokenizer,a.b=/mnt/database"]
    )
    assert translated == "data.path=/srv/data,params.extra.tokenizer=/srv/results/tokenizer,a.b=/mnt/database"


NAME = st.text(
    st.characters(
        codec="utf-8", exclude_categories=("Cc", "Cs", "Zl", "Zp", "Co", "Cn"), exclude_characters="/"
    ),
    min_size=1,
)


@given(folders=st.lists(NAME, min_size=1, max_size=3), below=st.sampled_from(["", "/train", "/a b"]))
def test_any_folder_reaches_run_eval_through_overrides_as_it_is(folders: list[str], below: str) -> None:
    source = "/" + "/".join(folders)
    places = Places(paths={"/mnt/data": source})
    (_, text) = places.argv(["--overrides", f"data.path=/mnt/data{below},params.seed=7"])
    tree = override_layer(split_overrides(text)).tree
    assert tree == {"data": {"path": source + below}, "params": {"seed": 7}}


@pytest.mark.parametrize("quote", ["'", '"'])
def test_a_value_that_is_quoted_already_stays_one_value(quote: str) -> None:
    places = Places(paths={"/mnt/data": "/it's, really"})
    (_, text) = places.argv(["--overrides", f"data.path={quote}/mnt/data{quote},a=1"])
    assert override_layer(split_overrides(text)).tree["data"]["path"] == "/it's, really"


def test_a_path_that_no_override_can_hold_is_refused(tmp_path: Path) -> None:
    places = Places(paths={"/mnt/data": f"{tmp_path}\nx"})
    with pytest.raises(UsageError, match="cannot hand over"):
        places.argv(["--overrides", "data.path=/mnt/data"])
