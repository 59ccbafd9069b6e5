"""What is stored, in words: the one place where a code becomes a sentence, in the language of who reads it."""

from payments.language import Language
from payments.operator.lists import DestinationLine


def account_text(destination: DestinationLine, language: Language) -> str:
    """The account that money goes to, in one line; its tax id is masked."""
    _ = language.gettext
    kinds = {
        "checking": _("checking account"),
        "payment": _("payment account"),
        "savings": _("savings account"),
        "salary": _("salary account"),
    }
    return _(
        "%(name)s (%(tax_id)s), bank %(bank)s, branch %(branch)s, %(kind)s %(account)s",
        name=destination.name,
        tax_id=destination.tax_id,
        bank=destination.bank_code,
        branch=destination.branch_code,
        kind=kinds.get(destination.account_type, destination.account_type),
        account=destination.account_number,
    )
