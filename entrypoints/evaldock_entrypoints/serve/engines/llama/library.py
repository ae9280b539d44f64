"""The low-level ctypes binding of llama-cpp-python, without its package's own imports."""

import importlib
import importlib.util
import os
import sys
from types import ModuleType

# The harness computes on the same processors. Threads that spin at OpenMP's barriers (its default) then wait
# for one that is not running: measured beside a busy process, 19-43 tokens/s spinning against 85 sleeping.
WAIT_POLICY = "passive"


def load_binding() -> ModuleType:
    """Import `llama_cpp.llama_cpp` alone; to be called before anything else loads OpenMP.

    The package's `__init__` also imports the high-level interface, with a pickle-backed cache and
    dependencies that the image does not carry. Raises ImportError when the binding is not installed.
    """
    os.environ.setdefault("OMP_WAIT_POLICY", WAIT_POLICY)
    if "llama_cpp" not in sys.modules:
        spec = importlib.util.find_spec("llama_cpp")
        if spec is None or spec.submodule_search_locations is None:
            raise ImportError("the libllama binding (package llama_cpp) is not installed in this environment")
        package = ModuleType("llama_cpp")
        package.__path__ = list(spec.submodule_search_locations)
        sys.modules["llama_cpp"] = package
    return importlib.import_module("llama_cpp.llama_cpp")
