"""What was checked of a connector, as messages: whole in an answer, cut to size in the status of an error."""

from collections.abc import Sequence

from valetkey.v1 import errors_pb2
from valetkey_broker.model import Check, CheckOutcome, cut

# A message that is read in a table, and a command to paste: of that, half would be of no use.
_MOST_MESSAGE, _MOST_MEND = 400, 600
# What tag, length and the detail's own type take.
_FIRST_BYTES, _EACH_BYTES = 80, 4
_NEEDED_MOST = (CheckOutcome.FAILED, CheckOutcome.WARNING, CheckOutcome.NOT_TRIED, CheckOutcome.OK)


def check_messages(checks: Sequence[Check]) -> list[errors_pb2.Check]:
    """Returns the lines as messages."""
    return [
        errors_pb2.Check(
            step=check.step,
            account=check.account,
            container=check.container,
            outcome=errors_pb2.CheckOutcome.Value(f"CHECK_OUTCOME_{check.outcome.name}"),
            message=check.message,
            mend=check.mend,
        )
        for check in checks
    ]


def checklist(checks: Sequence[Check], most_bytes: int) -> errors_pb2.Checklist | None:
    """Returns what fits of the lines, in their order: those that failed are left out last. None where nothing fits."""
    room = most_bytes - _FIRST_BYTES
    messages = check_messages(checks)
    kept = set()
    for index in sorted(range(len(checks)), key=lambda each: (_NEEDED_MOST.index(checks[each].outcome), each)):
        message = messages[index]
        message.message = cut(message.message, _MOST_MESSAGE)
        if len(message.mend) > _MOST_MEND:
            message.mend = ""
        room -= message.ByteSize() + _EACH_BYTES
        if room < 0:
            break
        kept.add(index)
    return errors_pb2.Checklist(checks=[messages[index] for index in sorted(kept)]) if kept else None
