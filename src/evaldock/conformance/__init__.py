"""Whether a harness image keeps the contract: every promise tried on the image itself."""
