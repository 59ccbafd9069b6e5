"""Stark Bank as we see it. Only this package knows the bank's SDK, and it knows nothing of our ledger.

Import what you need from ``client`` (calls) or ``signature`` (webhooks): checking a signature loads no SDK.
"""
