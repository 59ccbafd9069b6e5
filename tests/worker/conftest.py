"""Rules of issuing, as the settings have them by default."""

import pytest

from worker.issuing import IssuingRules


@pytest.fixture
def rules() -> IssuingRules:
    """The settings' own defaults."""
    return IssuingRules(
        per_batch_min=8,
        per_batch_max=12,
        amount_min_centavos=1_000,
        amount_max_centavos=50_000,
        late_slots="issue",
        lease_seconds=60,
        retry_base_seconds=5,
        retry_max_seconds=3600,
    )
