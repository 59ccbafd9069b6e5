"""The door: receives the bank's signed events, stores them, and forwards what was credited."""
