"""What the worker and the web app both know: the domain, the bank's seam, the ledger, and the two
procedures that move money (settlement) and find what was missed (reconciliation)."""
