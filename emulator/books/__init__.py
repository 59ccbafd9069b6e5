"""What the bank holds: rows, accounts and the rules that every call is checked against. No clock, no network."""
