"""What ``scripts/bench`` measures; each file is one part of its table."""
