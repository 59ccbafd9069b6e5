"""What the operator has decided about forwarding: to whom, how patiently, how often. Pure values."""

from dataclasses import dataclass, field

from payments.transfer import Destination


@dataclass(frozen=True, slots=True)
class ForwardingPolicy:
    """Durations are in seconds and may be fractions; ``reissue_max`` counts transfers after the first.

    ``tax_id_key`` is what payers' tax ids are hashed with, so that they can be searched for.
    """

    destination: Destination
    only_issued: bool  # forward only credits of invoices that carry our tag
    lease_seconds: float
    retry_base_seconds: float
    retry_max_seconds: float
    reissue_max: int
    tax_id_key: bytes = field(repr=False)
