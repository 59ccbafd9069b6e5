"""The clock: issues a batch of invoices in each slot of the window, and looks for what we missed."""
