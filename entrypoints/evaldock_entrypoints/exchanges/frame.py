"""One record on disk: a prefix with lengths and checksums, a header in JSON, a payload.

The checksums are CRC-32: against accidents, not against an author, who could compute any other as well;
every damage of up to 32 bits in a row is found, any other but for one in 2^32, at a quarter of the cost of
the shortest BLAKE2 (https://www.rfc-editor.org/rfc/rfc3385 compares them for storage).
"""

import struct
from collections.abc import Callable
from enum import IntEnum
from typing import NamedTuple
from zlib import crc32

import zstandard

MAGIC = b"\x89EVX\r\n\x1a\n"  # not text, not valid UTF-8, and mangled by what mangles line ends
VERSION = 1
MAX_HEADER_BYTES = 64 * 1024
MAX_PAYLOAD_BYTES = 1024**3
_SMALL_BYTES = 128  # shorter ones zstd makes longer
_FIELDS = struct.Struct("<8sBBBxHxxI16sIIII")
_CHECKSUM = struct.Struct("<I")
PREFIX_BYTES = _FIELDS.size + _CHECKSUM.size
_COMPRESSED = 1


class Kind(IntEnum):
    """What a record is."""

    EXCHANGE = 1
    FAILURE = 2
    DELIVERY = 3
    START = 4


class Prefix(NamedTuple):
    """What stands before the header of a record; its own checksum covers prefix and header."""

    kind: int
    flags: int
    status: int  # of HTTP; 0 for a delivery
    ordinal: int
    digest: bytes
    header_bytes: int
    stored_bytes: int
    payload_bytes: int
    payload_crc: int
    head_crc: int

    @property
    def total_bytes(self) -> int:
        """The length of the whole record."""
        return PREFIX_BYTES + self.header_bytes + self.stored_bytes


class DamagedError(Exception):
    """The bytes of a record are not what was written."""


def encode(
    kind: Kind,
    *,
    status: int,
    ordinal: int,
    digest: bytes,
    header: bytes,
    payload: bytes,
    compress: Callable[[bytes], bytes],
) -> bytes:
    """Return the bytes of a record."""
    flags, stored = 0, payload
    if len(payload) > _SMALL_BYTES:
        packed = compress(payload)
        if len(packed) < len(payload):
            flags, stored = _COMPRESSED, packed
    fields = _FIELDS.pack(
        MAGIC, VERSION, kind, flags, status, ordinal, digest,
        len(header), len(stored), len(payload), crc32(stored),
    )  # fmt: skip
    return b"".join((fields, _CHECKSUM.pack(crc32(header, crc32(fields))), header, stored))


def parse_prefix(data: bytes) -> Prefix | None:
    """Return what PREFIX_BYTES say; None where they cannot be the beginning of a record of this version."""
    if len(data) < PREFIX_BYTES or not data.startswith(MAGIC):
        return None
    _, version, kind, *others = _FIELDS.unpack_from(data)
    (head_crc,) = _CHECKSUM.unpack_from(data, _FIELDS.size)
    prefix = Prefix._make((kind, *others, head_crc))
    is_possible = version == VERSION and prefix.header_bytes <= MAX_HEADER_BYTES
    return prefix if is_possible and prefix.payload_bytes <= MAX_PAYLOAD_BYTES else None


def is_whole_head(prefix: Prefix, head: bytes) -> bool:
    """Tell whether prefix and header, given as they are on disk, are what was written."""
    fields, header = head[: _FIELDS.size], head[PREFIX_BYTES:]
    return len(header) == prefix.header_bytes and crc32(header, crc32(fields)) == prefix.head_crc


def is_whole_payload(prefix: Prefix, stored: bytes) -> bool:
    """Tell whether a payload, given as it is on disk, is what was written."""
    return len(stored) == prefix.stored_bytes and crc32(stored) == prefix.payload_crc


def decode_payload(prefix: Prefix, stored: bytes, decompress: Callable[[bytes], bytes]) -> bytes:
    """Return the payload; raises DamagedError. Never allocates more than the prefix says."""
    if not is_whole_payload(prefix, stored):
        raise DamagedError("the payload is not what was written")
    if not prefix.flags & _COMPRESSED:
        return stored
    try:
        if zstandard.frame_content_size(stored) != prefix.payload_bytes:
            raise DamagedError("the payload is longer than its record says")
        return decompress(stored)
    except zstandard.ZstdError as error:
        raise DamagedError("the payload cannot be decompressed") from error
