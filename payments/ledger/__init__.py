"""What happens to money. One public function is one transaction; nothing here calls the bank or reads a clock."""
