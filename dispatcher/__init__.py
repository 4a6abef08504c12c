"""Delivers WhatsApp messages through the Cloud API: queued on Redis, paced per number, each key once."""
