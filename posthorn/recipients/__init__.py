"""From a row of a file to an E.164 number, or to the reason why not."""
