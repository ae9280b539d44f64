"""Taking away what a Docker daemon left in the packet filter."""

from evaldock.supply.netfilter import undo_commands

BEFORE = ["-P FORWARD ACCEPT", "-N SITE", "-A FORWARD -j SITE"]


def test_nothing_to_undo_where_nothing_changed() -> None:
    assert undo_commands(BEFORE, BEFORE) == []


def test_docker_lines_go_rules_first_and_forward_is_opened_again() -> None:
    now = [
        "-P FORWARD DROP",
        "-N SITE",
        "-N DOCKER",
        "-A FORWARD -o docker0 -j DOCKER",
        "-A FORWARD -j SITE",
    ]

    assert undo_commands(BEFORE, now) == [
        ["-P", "FORWARD", "ACCEPT"],
        ["-D", "FORWARD", "-o", "docker0", "-j", "DOCKER"],
        ["-F", "DOCKER"],
        ["-X", "DOCKER"],
    ]


def test_rules_others_added_meanwhile_stay() -> None:
    now = [*BEFORE, "-N VPN", "-A FORWARD -i wg0 -j VPN"]

    assert undo_commands(BEFORE, now) == []


def test_an_engine_that_was_there_before_keeps_its_rules() -> None:
    before = ["-P FORWARD DROP", "-N DOCKER", "-A FORWARD -o docker0 -j DOCKER"]
    now = [*before, "-A FORWARD -i br-0123456789ab -j ACCEPT"]

    assert undo_commands(before, now) == [["-D", "FORWARD", "-i", "br-0123456789ab", "-j", "ACCEPT"]]
