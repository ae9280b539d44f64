"""One OpenAI-compatible front for every engine of ours: stdlib, jinja2, orjson and uvicorn only."""
