"""A hook into Inspect: every repeat of a question has a seed of its own.

Inspect sends one seed with all of them, and a server that honours it would answer each the same.
"""

from inspect_ai.hooks import BeforeModelGenerate, Hooks, hooks
from inspect_ai.log._samples import sample_active  # public interfaces do not tell the repeat


@hooks(name="repeat_seeds", description="adds the number of the repeat to the seed")
class RepeatSeeds(Hooks):
    """Works where a seed is sent: to the model under evaluation, and not to a judge."""

    async def on_before_model_generate(self, data: BeforeModelGenerate) -> None:
        """Add 0 at the first repeat, 1 at the second, and so on. Inspect counts from 1."""
        sample = sample_active()
        if data.config.seed is not None and sample is not None:
            data.config.seed += sample.epoch - 1
