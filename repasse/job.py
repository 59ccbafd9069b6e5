"""``repasse job``: read the database, act on it, or do a piece of the job by hand."""

from repasse import actions, lists, show, statement, work
from repasse.group import Group
from repasse.language import _

job = Group(
    "job",
    _(
        "Look, act, or do a piece of the job by hand.\n\nTimes are in the zone of the setting "
        "TIME_ZONE; in JSON and CSV in UTC. Exit status: 0 done; 1 something is left, was not found, or is not allowed "
        "now; 2 wrong arguments or settings."
    ),
    {
        _("See"): (
            *(
                lists.attention,
                statement.statement,
                show.show,
                lists.invoices,
                lists.credits,
                lists.transfers,
                lists.actions,
            ),
            *(statement.system, statement.audit),
        ),
        _("Act, with a reason that is recorded"): (
            *(actions.retry, actions.abandon, actions.recover, actions.resolve, actions.replay),
            *(actions.pause, actions.resume),
        ),
        _("Do a piece of the job now, with the bank"): (work.issue, work.forward, work.reconcile),
    },
    ("repasse job attention", "repasse job show credit-5000000000000001", "repasse job statement --json"),
)
job.add_command(lists.actions, "acts")  # as the console's address has it
