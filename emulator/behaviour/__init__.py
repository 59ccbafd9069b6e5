"""What the bank does by itself, as time passes: payers, credits, transfers, events, and faults on request."""
