from evaldock.engines.ownership import OWNER_LABEL, is_orphan, owner


def test_only_objects_of_dead_processes_of_this_host_are_orphans() -> None:
    host, boot, _, ticks = owner().split(":")
    assert not is_orphan({OWNER_LABEL: owner()})
    assert is_orphan({OWNER_LABEL: f"{host}:{boot}:4194304:{ticks}"})
    assert is_orphan({OWNER_LABEL: f"{host}:another-boot:1:1"})
    assert not is_orphan({OWNER_LABEL: "another-host:boot:1:1"})
    assert not is_orphan({})
