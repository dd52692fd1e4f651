"""Before anything is sent: the provider has every file, knows what a ticket names, and the credit will do."""
