"""Meta's wire: requests to the Graph API, and what its webhooks say."""
