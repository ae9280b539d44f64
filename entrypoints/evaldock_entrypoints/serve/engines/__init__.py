"""One module per engine of ours: `python -m evaldock_entrypoints.serve.engines.NAME`."""
