"""What became of what was sent: the provider is asked, its listing is evidence, and what it still holds can be withdrawn."""
