"""`dispatcher api`: the HTTP door for Meta's webhooks, what is done with them, and who they are passed on to."""
