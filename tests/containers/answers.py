"""Answer tables for the fake endpoint, made inside the harness images from the data they carry."""

from pathlib import Path

import docker

from evaldock.supply.lock import LockedImage

KIT = Path(__file__).parents[1] / "kit"


def lm_eval_answers(
    client: docker.DockerClient, image: LockedImage, task: str, limit: int, folder: Path
) -> Path:
    """Write the table of the first `limit` items of an lm-eval task."""
    return answer_table(
        client, image, ["answer_tables.py", "/opt/data", task, str(limit)], folder / f"{task}.jsonl"
    )


def humaneval_answers(client: docker.DockerClient, image: LockedImage, kind: str, folder: Path) -> Path:
    """Write the table of all HumanEval problems for an endpoint type."""
    return answer_table(client, image, ["humaneval_answers.py", kind], folder / f"humaneval-{kind}.jsonl")


def answer_table(client: docker.DockerClient, image: LockedImage, argv: list[str], path: Path) -> Path:
    """Write what a script of tests/kit prints inside the image."""
    mount = docker.types.Mount(target="/kit", source=str(KIT), type="bind", read_only=True)
    output = client.containers.run(
        image.image_id,
        ["/opt/harness/bin/python", f"/kit/{argv[0]}", *argv[1:]],
        mounts=[mount],
        network_mode="none",
        remove=True,
    )
    path.write_bytes(output)
    return path
