"""The command line: one command, ``repasse``, which starts the processes and serves the operator."""
