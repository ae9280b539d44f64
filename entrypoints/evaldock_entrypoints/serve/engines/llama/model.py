"""A GGUF model: loading, facts, tokenizer."""

import ctypes
import functools
import sys
from pathlib import Path
from typing import Any

from evaldock_entrypoints.serve.engines.llama.library import load_binding

HALF_FLOAT_BYTES = 2


class LlamaModel:
    """A loaded GGUF file; it is its own `Tokenizer`. It lives as long as the process."""

    def __init__(self, path: Path) -> None:
        self.library: Any = load_binding()
        self._quiet()
        self.library.llama_backend_init()
        parameters = self.library.llama_model_default_params()
        parameters.n_gpu_layers = 0
        self.handle = self.library.llama_model_load_from_file(str(path).encode(), parameters)
        if not self.handle:
            raise RuntimeError(
                f"libllama cannot load {path}: not a GGUF file, damaged, or of an unknown architecture"
            )
        self._vocabulary = self.library.llama_model_get_vocab(self.handle)
        self.vocabulary_size = int(self.library.llama_vocab_n_tokens(self._vocabulary))

    @property
    def trained_context(self) -> int:
        """Tokens of context that the model was trained with."""
        return int(self.library.llama_model_n_ctx_train(self.handle))

    @property
    def cache_bytes_per_token(self) -> int:
        """Bytes of key-value cache that one token takes at half precision."""
        library = self.library
        head = library.llama_model_n_embd(self.handle) // library.llama_model_n_head(self.handle)
        per_layer = 2 * library.llama_model_n_head_kv(self.handle) * head * HALF_FLOAT_BYTES
        return int(library.llama_model_n_layer(self.handle) * per_layer)

    @property
    def chat_template(self) -> str | None:
        """The template that the file carries."""
        template = self.library.llama_model_chat_template(self.handle, None)
        return template.decode() if template else None

    @property
    def bos_token(self) -> str | None:
        """Text of the token that begins a text."""
        return self._special(self.library.llama_vocab_bos)

    @property
    def eos_token(self) -> str | None:
        """Text of the token that ends a text."""
        return self._special(self.library.llama_vocab_eos)

    @property
    def pad_token(self) -> str | None:
        """Text of the padding token."""
        return self._special(self.library.llama_vocab_pad)

    def encode(self, text: str, *, add_special: bool) -> list[int]:
        """Token ids of `text`; special tokens written out in the text are recognised."""
        data = text.encode()
        room = len(data) + 8
        tokens = (ctypes.c_int32 * room)()
        count = self.library.llama_tokenize(
            self._vocabulary, data, len(data), tokens, room, add_special, True
        )
        if count < 0:
            raise RuntimeError(f"libllama cannot tokenize a text of {len(data)} bytes (answer {count})")
        return list(tokens[:count])

    @functools.cache  # noqa: B019 - at most one entry per token of a model that is never dropped
    def piece(self, token: int) -> bytes:
        """Bytes of a token, special tokens written out."""
        size = 256
        while True:
            buffer = ctypes.create_string_buffer(size)
            length = self.library.llama_token_to_piece(self._vocabulary, token, buffer, size, 0, True)
            if length >= 0:
                return buffer.raw[:length]
            size = -length

    @functools.cache  # noqa: B019 - as above
    def is_special(self, token: int) -> bool:
        """Whether the token is a control token or ends a text."""
        control = self.library.llama_vocab_is_control(self._vocabulary, token)
        return bool(control) or self.ends_text(token)

    def ends_text(self, token: int) -> bool:
        """Whether the token ends a text or a turn."""
        return bool(self.library.llama_vocab_is_eog(self._vocabulary, token))

    def _special(self, getter: Any) -> str | None:
        token = getter(self._vocabulary)
        return self.piece(token).decode(errors="replace") if token >= 0 else None

    def _quiet(self) -> None:
        """Let through warnings and errors of libllama only."""
        library = self.library
        self._log_callback = library.llama_log_callback(_log)
        library.llama_log_set(self._log_callback, None)


def _log(level: int, text: bytes, _data: object) -> None:
    if level in (3, 4):
        sys.stderr.write(text.decode(errors="replace"))
