"""Backup, restore, verification, and the copy to another database."""
