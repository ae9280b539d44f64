"""Forward passes of libllama over slots."""

import ctypes
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from evaldock_entrypoints.serve.batching.decoder import Logits, Row, RowsWanted
from evaldock_entrypoints.serve.engines.llama.model import LlamaModel

# Larger passes are no faster on a CPU, and each row of wanted logits takes vocabulary x 4 bytes.
CHUNK_ROWS = 256
FLASH_ATTENTION_OFF = 0
CELL_ALIGNMENT = 256


class LlamaContext:
    """A `Decoder` over one libllama context.

    Every slot has cells of its own (no unified cache) and flash attention is off: then a row's result does
    not depend on where in the cache its sequence lies or on what else is computed. With either on, the same
    prompt's log-probabilities moved by up to 0.5 with the company it was in (llama.cpp rounds activations to
    8 bits, which enlarges the smallest difference).
    """

    def __init__(self, model: LlamaModel, *, slots: int, max_model_len: int, threads: int) -> None:
        self._model = model
        self._library: Any = model.library
        self.slots = slots
        self.chunk = CHUNK_ROWS
        self._handle = self._library.llama_init_from_model(
            model.handle, self._parameters(max_model_len, threads)
        )
        if not self._handle:
            raise RuntimeError(
                f"libllama cannot create a context of {slots} x {max_model_len} tokens: lower --max_model_len"
            )
        self._memory = self._library.llama_get_memory(self._handle)
        self._rows = _Rows(self._library, max(CHUNK_ROWS, slots))

    def prefill(self, slot: int, start: int, tokens: Sequence[int], wanted: RowsWanted) -> Logits:
        """Feed consecutive tokens of one slot."""
        count = len(tokens)
        rows = self._rows
        rows.tokens[:count] = tokens
        rows.positions[:count] = np.arange(start, start + count)
        rows.slots[:count] = slot
        rows.wanted[:count] = wanted == "all"
        rows.wanted[count - 1] = wanted != "none"
        return self._decode(count, {"all": count, "last": 1, "none": 0}[wanted])

    def step(self, rows: Sequence[Row]) -> Logits:
        """Feed one token to each of several slots."""
        count = len(rows)
        self._rows.tokens[:count] = [row.token for row in rows]
        self._rows.positions[:count] = [row.position for row in rows]
        self._rows.slots[:count] = [row.slot for row in rows]
        self._rows.wanted[:count] = 1
        return self._decode(count, count)

    def truncate(self, slot: int, length: int) -> int:
        """Forget a slot from `length` on; a model with recurrent state can only forget all of it."""
        if self._library.llama_memory_seq_rm(self._memory, slot, length, -1):
            return length
        self._library.llama_memory_seq_rm(self._memory, slot, -1, -1)
        return 0

    def ends_text(self, token: int) -> bool:
        """Whether the token ends a text."""
        return self._model.ends_text(token)

    def _decode(self, count: int, wanted: int) -> Logits:
        answer = self._library.llama_decode(self._handle, self._rows.batch(count))
        if answer != 0:
            raise RuntimeError(f"llama_decode of {count} rows failed (answer {answer})")
        if wanted == 0:
            return np.empty((0, self._model.vocabulary_size), dtype=np.float32)
        pointer = self._library.llama_get_logits(self._handle)
        return np.ctypeslib.as_array(pointer, (wanted, self._model.vocabulary_size))

    def _parameters(self, max_model_len: int, threads: int) -> Any:
        parameters = self._library.llama_context_default_params()
        cells = -(-max_model_len // CELL_ALIGNMENT) * CELL_ALIGNMENT
        parameters.n_ctx = cells * self.slots
        parameters.n_seq_max = self.slots
        parameters.n_batch = parameters.n_ubatch = max(CHUNK_ROWS, self.slots)
        parameters.n_threads = parameters.n_threads_batch = threads
        parameters.flash_attn_type = FLASH_ATTENTION_OFF
        parameters.kv_unified = False
        # a sliding window that forgot its past could not be cut back to a shared prefix
        parameters.swa_full = True
        parameters.no_perf = True
        return parameters


class _Rows:
    """The arrays of a `llama_batch`, filled through numpy instead of element by element."""

    def __init__(self, library: Any, size: int) -> None:
        self._library = library
        self.tokens: npt.NDArray[np.int32] = np.zeros(size, dtype=np.int32)
        self.positions: npt.NDArray[np.int32] = np.zeros(size, dtype=np.int32)
        self.slots: npt.NDArray[np.int32] = np.zeros(size, dtype=np.int32)
        self.wanted: npt.NDArray[np.int8] = np.zeros(size, dtype=np.int8)
        self._slot_counts: npt.NDArray[np.int32] = np.ones(size, dtype=np.int32)
        addresses = self.slots.ctypes.data + np.arange(size, dtype=np.uint64) * self.slots.itemsize
        self._slot_addresses: npt.NDArray[np.uint64] = addresses.astype(np.uint64)

    def batch(self, count: int) -> Any:
        """Return the structure that `llama_decode` takes, over the first `count` rows."""
        int32 = ctypes.POINTER(ctypes.c_int32)
        return self._library.llama_batch(
            n_tokens=count,
            token=self.tokens.ctypes.data_as(int32),
            embd=None,
            pos=self.positions.ctypes.data_as(int32),
            n_seq_id=self._slot_counts.ctypes.data_as(int32),
            seq_id=self._slot_addresses.ctypes.data_as(ctypes.POINTER(int32)),
            logits=self.wanted.ctypes.data_as(ctypes.POINTER(ctypes.c_int8)),
        )
