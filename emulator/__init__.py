"""A small Stark Bank that runs on a laptop, for development and tests.

It answers the bank's API (/v2) and, as time passes, pays invoices, sends signed webhooks and settles transfers. It
imports nothing of repasse, because shared code would share its mistakes, and it never moves real money.
"""
