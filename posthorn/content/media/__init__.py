"""Files and barcodes: what is sent besides text."""
