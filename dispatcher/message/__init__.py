"""What is sent: messages, recipients, contents, and the words for where a message is."""
