"""The kind `reaction`: an emoji on a message that is there already."""

from dispatcher.message.content.built import Content
from dispatcher.message.content.shape import record, text

REACTION = record({"message_id": text(), "emoji": text(least=0)})


class Reaction(Content):
    """An emoji on the message with this wamid, at most 30 days old and no reaction itself; "" takes it back."""

    def __init__(self, message_id: str, emoji: str) -> None:
        super().__init__("reaction", {"message_id": message_id, "emoji": emoji}, REACTION)
