"""What the operator has decided about forwarding: to whom, how patiently, how often. Pure values."""

from dataclasses import dataclass

from payments.transfer import Destination


@dataclass(frozen=True, slots=True)
class ForwardingPolicy:
    """Durations are in seconds and may be fractions; ``reissue_max`` counts transfers after the first."""

    destination: Destination
    only_issued: bool  # forward only credits of invoices that carry our tag
    lease_seconds: float
    retry_base_seconds: float
    retry_max_seconds: float
    reissue_max: int
