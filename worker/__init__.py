"""The worker: issues a batch of invoices in each slot of the window, and reconciles."""
