"""Bodies that come compressed though nobody asked for it."""

import zlib

from evaldock_entrypoints.adapter.upstream.connection import EndedError, NoHttpError, TooLongError

_GZIP_OR_ZLIB = zlib.MAX_WBITS | 32
_BARE = -zlib.MAX_WBITS


class Inflating:
    """Decompresses a body part by part: gzip, or deflate with its wrapping or without."""

    def __init__(self, encoding: str, max_body_bytes: int) -> None:
        """Raises NoHttpError for a compression that is not ours."""
        if encoding not in ("gzip", "x-gzip", "deflate"):
            raise NoHttpError(f"compressed as {encoding}")
        self._stream = zlib.decompressobj(_GZIP_OR_ZLIB)
        self._left_bytes = max_body_bytes
        self._max_body_bytes = max_body_bytes
        self._is_begun = False

    def part(self, part: bytes) -> bytes:
        """Return what a part says; raises TooLongError, EndedError where it is damaged."""
        pieces = []
        while part:
            piece = self._inflated(part)
            self._left_bytes -= len(piece)
            if self._left_bytes < 0:
                raise TooLongError(f"the answer is longer than {self._max_body_bytes:,} bytes")
            pieces.append(piece)
            part = self._stream.unused_data  # another member follows
            if part:
                self._stream = zlib.decompressobj(_GZIP_OR_ZLIB)
        return b"".join(pieces)

    def whole(self, body: bytes) -> bytes:
        """Return what a whole body says; raises as `part` does."""
        plain = self.part(body)
        if body and not self._stream.eof:
            raise EndedError
        return plain

    def _inflated(self, part: bytes) -> bytes:
        try:
            return self._tried(part)
        except zlib.error as error:
            if self._is_begun:
                raise EndedError from error
        self._stream = zlib.decompressobj(_BARE)
        try:
            return self._tried(part)
        except zlib.error as error:
            raise EndedError from error

    def _tried(self, part: bytes) -> bytes:
        piece = self._stream.decompress(part, self._left_bytes + 1)
        self._is_begun = True
        return piece
