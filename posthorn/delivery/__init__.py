"""The steps of a delivery, one room for each idea; `deliver` is the loop that sends and settles."""
