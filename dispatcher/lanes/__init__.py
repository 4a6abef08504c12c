"""Redis: where messages wait, who serves which number, and what became of them. Knows no HTTP and decides nothing."""
