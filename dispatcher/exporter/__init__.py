"""A process that measures a cell as a whole, for Prometheus: what no single worker can say of it."""
