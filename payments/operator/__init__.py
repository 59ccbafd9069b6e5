"""What a person reads and does."""
