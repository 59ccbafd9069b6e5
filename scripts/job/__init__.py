"""The commands of scripts/run_job: reading the books, acting on them, and the job's own pieces of work."""
