"""What is kept in Redis: one file a noun, all scripts behind them."""
