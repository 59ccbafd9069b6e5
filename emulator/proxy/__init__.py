"""How an unchanged SDK gets here: an HTTPS proxy for the two host names of the bank."""
