"""Who must not be messaged: the list that operators keep, and the opt-outs that providers know."""
