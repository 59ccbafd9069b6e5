"""What goes over the wire as at the real bank: signed calls of /v2 come in, signed events go out."""
