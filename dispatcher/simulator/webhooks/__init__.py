"""What the simulator sends on its own: signed webhooks with statuses and inbound messages, tried until answered 200."""
