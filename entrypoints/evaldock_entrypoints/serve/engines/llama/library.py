"""The low-level ctypes binding of llama-cpp-python, without its package's own imports."""

import importlib
import importlib.util
import sys
from types import ModuleType


def load_binding() -> ModuleType:
    """Import `llama_cpp.llama_cpp` alone.

    The package's `__init__` also imports the high-level interface, with a pickle-backed cache and a second set of
    dependencies that the image does not carry. Raises ImportError when the binding is not installed.
    """
    if "llama_cpp" not in sys.modules:
        spec = importlib.util.find_spec("llama_cpp")
        if spec is None or spec.submodule_search_locations is None:
            raise ImportError("the libllama binding (package llama_cpp) is not installed in this environment")
        package = ModuleType("llama_cpp")
        package.__path__ = list(spec.submodule_search_locations)
        sys.modules["llama_cpp"] = package
    return importlib.import_module("llama_cpp.llama_cpp")
