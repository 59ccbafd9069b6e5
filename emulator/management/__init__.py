"""What no bank lets its customers do: /emulator, its page, the commands, saved states."""
