"""Logs, metrics, heartbeat and alerts."""
