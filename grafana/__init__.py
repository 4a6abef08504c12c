"""Dashboards, rules and provisioning for the metrics of `docs/metrics.md`. Nothing of the dispatcher imports this."""
