"""A small Stark Bank that runs on a laptop, for development and tests.

It speaks the bank's protocol (/v2) and lives by itself: pays invoices, sends signed webhooks, settles
transfers. It imports nothing of repasse, because code shared with it would share its mistakes, and it never
moves real money.
"""
