"""In the place of a library for sound, which a library of bfcl imports undeclared and has no use for here."""
