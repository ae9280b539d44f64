"""Ends the task at the first client error: a wrong request fails the same way every time."""

from evaldock_entrypoints.adapter.call import Answer, Call
from evaldock_entrypoints.adapter.interceptor import Interceptor
from evaldock_entrypoints.contract import answer_interceptors as contract
from evaldock_entrypoints.contract.errors import EndpointError


class RaiseClientErrors(Interceptor[contract.RaiseClientErrors]):
    """The endpoint's 4xx, but for those that pass by themselves."""

    Config = contract.RaiseClientErrors
    observes_only = True

    def on_response(self, call: Call, answer: Answer) -> None:
        """Stop the task; the answer itself reaches the harness as it is."""
        if self._ends_the_task(answer.status):
            said = f": {answer.facts.message}" if answer.facts.message else ""
            self.context.stop_task(
                EndpointError(
                    f"the endpoint answered {answer.status}{said}",
                    where=f"{self.context.task}: {call.route}",
                    next_step="correct the request or the endpoint; raise_client_errors ends the task here",
                )
            )

    def _ends_the_task(self, status: int) -> bool:
        config = self.config
        if status in config.status_codes:
            return True
        in_range = config.status_code_range_start <= status <= config.status_code_range_end
        return in_range and status not in config.exclude_status_codes
