import os
from pathlib import Path

import pytest

from evaldock.untrusted_files import UnreadableFileError, read_json
from evaldock.untrusted_folders import LedAstrayError, folder_below, new_file, take_away


def test_a_folder_that_is_missing_is_made_and_what_is_written_there_stands_there(tmp_path: Path) -> None:
    with folder_below(tmp_path, "native/score") as folder, new_file(folder / "log") as file:
        file.write(b"said")
    assert (tmp_path / "native" / "score" / "log").read_bytes() == b"said"


@pytest.mark.parametrize("place", ["native", "native/score"])
@pytest.mark.parametrize("kind", ["link", "link to nowhere", "file", "pipe"])
def test_what_is_no_folder_is_refused_and_nothing_is_made_behind_it(
    tmp_path: Path, place: str, kind: str
) -> None:
    root, elsewhere = tmp_path / "root", tmp_path / "elsewhere"
    (root / place).parent.mkdir(parents=True)
    match kind:
        case "link":
            elsewhere.mkdir()
            (root / place).symlink_to(elsewhere)
        case "link to nowhere":
            (root / place).symlink_to(elsewhere)
        case "file":
            (root / place).write_text("x", encoding="utf-8")
        case _:
            os.mkfifo(root / place)
    with pytest.raises(LedAstrayError, match="is a link, or no folder"), folder_below(root, "native/score"):
        pass
    assert not elsewhere.exists() or list(elsewhere.iterdir()) == []


def test_a_link_above_the_root_is_followed(tmp_path: Path) -> None:
    (tmp_path / "disk").mkdir()
    (tmp_path / "root").symlink_to(tmp_path / "disk")
    with folder_below(tmp_path / "root", "logs"):
        pass
    assert (tmp_path / "disk" / "logs").is_dir()


def test_descriptors_are_closed_however_it_ends(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "link").symlink_to(tmp_path)
    before = sorted(Path("/proc/self/fd").iterdir())
    for path in ("a", "a/new", "."):
        with folder_below(tmp_path, path):
            pass
    with pytest.raises(LedAstrayError), folder_below(tmp_path, "a/link/b"):
        pass
    assert sorted(Path("/proc/self/fd").iterdir()) == before


@pytest.mark.parametrize("kind", ["link", "link to nowhere", "folder", "pipe", "file"])
def test_a_new_file_takes_the_place_of_whatever_stands_there(tmp_path: Path, kind: str) -> None:
    place, victim = tmp_path / "log", tmp_path / "victim"
    match kind:
        case "link":
            victim.write_text("untouched", encoding="utf-8")
            place.symlink_to(victim)
        case "link to nowhere":
            place.symlink_to(victim)
        case "folder":
            (place / "inside").mkdir(parents=True)
        case "pipe":
            os.mkfifo(place)
        case _:
            place.write_text("old", encoding="utf-8")
    with new_file(place) as file:
        file.write(b"new")
    assert place.read_bytes() == b"new"
    assert not place.is_symlink()
    assert not victim.exists() or victim.read_text(encoding="utf-8") == "untouched"


def test_taking_away_a_link_leaves_what_it_leads_to(tmp_path: Path) -> None:
    (tmp_path / "kept").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "kept")
    take_away(tmp_path / "link")
    take_away(tmp_path / "nothing")
    assert [path.name for path in tmp_path.iterdir()] == ["kept"]


def test_a_folder_in_the_place_of_a_file_is_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "metrics.json").mkdir()
    with pytest.raises(UnreadableFileError, match="not a regular file"):
        read_json(tmp_path / "metrics.json")
