"""What may hold or stop a delivery: hours, money, a moment that passed, too many that went wrong."""
