"""The tasks: inspect-evals' own with the arguments of a run, and one of this project."""

from collections.abc import Callable
from dataclasses import dataclass

from inspect_ai import Task, task
from inspect_ai.dataset import Sample, hf_dataset
from inspect_ai.model import GenerateConfig, Model
from inspect_ai.scorer import model_graded_fact
from inspect_ai.solver import generate, prompt_template

NQ_OPEN = "google-research-datasets/nq_open"
SHORT_ANSWER = "Answer the question in one short sentence.\n\n{prompt}"


@dataclass(frozen=True, kw_only=True)
class Arguments:
    """What a run may ask of a task."""

    num_fewshot: int
    max_new_tokens: int
    cot: bool
    judge: Callable[[GenerateConfig], Model]  # of the judge, given what the task asks of it by itself


def gsm8k(run: Arguments) -> Task:
    from inspect_evals.gsm8k import gsm8k as make

    return make(fewshot=run.num_fewshot)


def winogrande(run: Arguments) -> Task:
    from inspect_evals.winogrande import winogrande as make

    return make(fewshot=run.num_fewshot)


def arc_challenge(_run: Arguments) -> Task:
    from inspect_evals.arc import arc_challenge as make

    return make()


def arc_easy(_run: Arguments) -> Task:
    from inspect_evals.arc import arc_easy as make

    return make()


def hellaswag(_run: Arguments) -> Task:
    from inspect_evals.hellaswag import hellaswag as make

    return make()


def commonsense_qa(_run: Arguments) -> Task:
    """Return the task in the data's own order: by itself it shuffles without a seed."""
    from inspect_evals.commonsense_qa import commonsense_qa as make

    return make(shuffle=False)


def boolq(_run: Arguments) -> Task:
    """Return the task in the data's own order: by itself it shuffles without a seed."""
    from inspect_evals.boolq import boolq as make

    return make(shuffle=False)


def mmlu_0_shot(run: Arguments) -> Task:
    """Return the task with its own limit on answers without a chain of thought set to the run's."""
    from inspect_evals.mmlu import mmlu_0_shot as make

    return make(cot=run.cot, max_non_cot_tokens=run.max_new_tokens)


def mmlu_5_shot(run: Arguments) -> Task:
    """Return the task with its own limit on answers without a chain of thought set to the run's."""
    from inspect_evals.mmlu import mmlu_5_shot as make

    return make(cot=run.cot, max_non_cot_tokens=run.max_new_tokens)


def writingbench(run: Arguments) -> Task:
    """Return the task with its own settings of the judge; top_k, which OpenAI's API lacks, is left out."""
    from inspect_evals.writingbench import writingbench as make

    return make(judge_model=run.judge(GenerateConfig(temperature=0.7, top_p=0.8, max_tokens=2048)))


@task
def nq_open_judged(judge: Model) -> Task:
    """Return short factual questions, each answer compared by a judge with the known ones."""
    dataset = hf_dataset(NQ_OPEN, split="validation", sample_fields=_question, auto_id=True)
    return Task(
        dataset=dataset,
        solver=[prompt_template(SHORT_ANSWER), generate()],
        scorer=model_graded_fact(model=judge),
    )


def _question(record: dict[str, object]) -> Sample:
    answers = record["answer"]
    if not isinstance(answers, list):
        raise TypeError(f"an answer of another form than expected: {answers!r}")
    return Sample(input=f"{record['question']}?", target="; or: ".join(answers))


TASKS: dict[str, Callable[[Arguments], Task]] = {
    "arc_challenge": arc_challenge,
    "arc_easy": arc_easy,
    "boolq": boolq,
    "commonsense_qa": commonsense_qa,
    "gsm8k": gsm8k,
    "hellaswag": hellaswag,
    "mmlu_0_shot": mmlu_0_shot,
    "mmlu_5_shot": mmlu_5_shot,
    "nq_open_judged": lambda run: nq_open_judged(run.judge(GenerateConfig(temperature=0.0, max_tokens=1024))),
    "winogrande": winogrande,
    "writingbench": writingbench,
}
