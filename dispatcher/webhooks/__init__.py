"""Meta's webhooks: who signed them, and what stands in them. Pure; knows no HTTP server and no Redis."""
