"""What the bank does as time passes: payments, credits, transfers, events, and faults on request."""
