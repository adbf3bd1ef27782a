"""Where several processes fail alike, one of them says why."""

import signal

from datac.errors import DatacError
from datac.exit_codes import ExitCode
from datac.torchrun import own_place


def is_said_by_another(error: BaseException, code: ExitCode) -> bool:
    """Whether the first process on this machine says it for this one.

    What a user can mend befalls all processes, most of it by agreement
    (`searcher/processes.py:Processes.agreed`). They wait for each other, since torchrun ends the
    rest as soon as one has ended, and nobody might have spoken by then. A failure of one process
    alone is said by it.
    """
    place = own_place()
    if place.size == 1:
        return False
    signal.signal(signal.SIGTERM, signal.SIG_IGN)  # each shall end with its own exit code
    if code is ExitCode.INTERRUPTED:
        return place.local_rank > 0
    if code is ExitCode.BUG and not isinstance(error, DatacError):
        return False
    from searcher.processes import all_have_failed

    return all_have_failed(place.size) and place.local_rank > 0
