"""What an operator does at a provider by hand, without any delivery: look, probe, keep files."""
