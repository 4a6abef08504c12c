"""The process that delivers: takes numbers, claims messages, posts and settles them."""
