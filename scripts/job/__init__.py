"""The commands of scripts/run_job: reading, operator actions, and the job's own pieces of work."""
