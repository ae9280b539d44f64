"""libllama through ctypes: library, model, context."""
