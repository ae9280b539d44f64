"""The pages of docs/reference, generated from the command line, the models and the catalogue."""
