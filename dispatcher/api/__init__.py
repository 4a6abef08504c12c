"""`dispatcher api`: takes Meta's webhooks in, works them off, and passes them on to other programs."""
