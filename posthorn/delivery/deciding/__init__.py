"""What a person decides: whether it may go out, what became of an unknown message, who gets it again."""
