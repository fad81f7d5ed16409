"""The stream against an independent implementation: the `tink` package, both ways."""

import io
import os

import pytest
import tink
from hypothesis import given, settings
from hypothesis import strategies as st
from tink import secret_key_access, streaming_aead
from tink.proto import aes_gcm_hkdf_streaming_pb2, common_pb2, tink_pb2

from confide.data.sealed import SealedReader, SealedWriter, read_header
from confide.data.segments import (
    HEADER_BYTES,
    MAX_SEGMENTS,
    PLAIN_BYTES,
    SEGMENT_BYTES,
    TAG_BYTES,
    Layout,
    SegmentCipher,
    plain_start,
    segment_at,
)
from confide.errors import InvalidFormat, Misuse, Tampered

FIRST = PLAIN_BYTES - HEADER_BYTES
SIZES = [0, 1, 15, 16, 17, FIRST - 1, FIRST, FIRST + 1, FIRST + PLAIN_BYTES - 1, FIRST + PLAIN_BYTES,
         FIRST + PLAIN_BYTES + 1, 5_000_000]  # fmt: skip


def tink_primitive(data_key: bytes) -> streaming_aead.StreamingAead:
    streaming_aead.register()
    params = aes_gcm_hkdf_streaming_pb2.AesGcmHkdfStreamingParams(
        ciphertext_segment_size=SEGMENT_BYTES, derived_key_size=32, hkdf_hash_type=common_pb2.SHA256
    )
    value = aes_gcm_hkdf_streaming_pb2.AesGcmHkdfStreamingKey(version=0, params=params, key_value=data_key)
    keyset = tink_pb2.Keyset(primary_key_id=1)
    entry = keyset.key.add(status=tink_pb2.ENABLED, key_id=1, output_prefix_type=tink_pb2.RAW)
    entry.key_data.type_url = "type.googleapis.com/google.crypto.tink.AesGcmHkdfStreamingKey"
    entry.key_data.value = value.SerializeToString()
    entry.key_data.key_material_type = tink_pb2.KeyData.SYMMETRIC
    handle = tink.proto_keyset_format.parse(keyset.SerializeToString(), secret_key_access.TOKEN)
    return handle.primitive(streaming_aead.StreamingAead)


def plaintext_of(size: int) -> bytes:
    return os.urandom(min(size, 4096)) * (size // 4096 + 1) if size > 4096 else os.urandom(size)


@pytest.mark.parametrize("size", SIZES)
def test_tink_decrypts_what_we_seal(size, keyset, key, folder):
    plaintext, sealed = plaintext_of(size)[:size], io.BytesIO()
    with SealedWriter(sealed, keyset, key, folder) as writer:
        writer.write(plaintext)
    sealed.seek(0)
    parsed = read_header(sealed)
    body = io.BytesIO(sealed.read())
    stream = tink_primitive(parsed.header.unwrap(keyset)).new_decrypting_stream(body, parsed.raw)
    assert stream.read() == plaintext


@pytest.mark.parametrize("size", SIZES)
def test_we_open_what_tink_seals(size, keyset, key, folder):
    plaintext, shell = plaintext_of(size)[:size], io.BytesIO()
    SealedWriter(shell, keyset, key, folder).close()
    shell.seek(0)
    parsed = read_header(shell)

    class Kept(io.BytesIO):
        def close(self):
            self.kept = self.getvalue()
            super().close()

    body = Kept()
    with tink_primitive(parsed.header.unwrap(keyset)).new_encrypting_stream(body, parsed.raw) as stream:
        stream.write(plaintext)
    assert SealedReader(io.BytesIO(parsed.raw + body.kept), keyset).read() == plaintext


@given(st.integers(0, 2**40))
def test_positions_and_segments_agree(position):
    segment = segment_at(position)
    assert plain_start(segment) <= position < plain_start(segment + 1)


@given(st.integers(0, 2**40))
def test_layout_covers_the_body_and_the_plaintext(size):
    segments = segment_at(max(0, size - 1)) + 1
    layout = Layout(size + HEADER_BYTES + TAG_BYTES * segments)
    assert (layout.segments, layout.plain_bytes) == (segments, size)
    last = segments - 1
    assert layout.is_last(last)
    assert not layout.is_last(last - 1)
    assert layout.cipher_range(last)[1] == layout.body_bytes
    assert layout.plain_range(last)[1] == size
    for segment in {0, last // 2, last}:
        (a, b), (c, d) = layout.cipher_range(segment), layout.plain_range(segment)
        assert b - a == d - c + TAG_BYTES


@pytest.mark.parametrize("size", [0, 1, 39, 40, 55, SEGMENT_BYTES + 1, SEGMENT_BYTES + 15])
def test_too_short_bodies(size):
    with pytest.raises(Tampered):
        Layout(size)


def test_too_many_segments():
    with pytest.raises(InvalidFormat):
        Layout(MAX_SEGMENTS * SEGMENT_BYTES + 100)
    with pytest.raises(Misuse):
        SegmentCipher(bytes(32), b"").encrypt(MAX_SEGMENTS, True, b"", memoryview(bytearray(16)))


@pytest.mark.parametrize(
    "header", [b"", bytes(40), bytes([40]) * 39, bytes([40]) * 41, bytes([24]) + bytes(39)]
)
def test_bad_stream_headers(header):
    with pytest.raises(InvalidFormat):
        SegmentCipher(bytes(32), b"", header)


def test_bad_key():
    with pytest.raises(Misuse):
        SegmentCipher(bytes(16), b"")


@settings(max_examples=50)
@given(st.binary(max_size=200), st.integers(0, 5), st.booleans(), st.integers(0, 6), st.booleans())
def test_a_segment_opens_in_its_place_only(data, segment, last, other, other_last):
    cipher = SegmentCipher(bytes(32), b"ad")
    sealed, out = memoryview(bytearray(len(data) + TAG_BYTES)), memoryview(bytearray(len(data)))
    cipher.encrypt(segment, last, data, sealed)
    cipher.decrypt(segment, last, sealed, out)
    assert bytes(out) == data
    if (other, other_last) != (segment, last):
        with pytest.raises(Tampered):
            cipher.decrypt(other, other_last, sealed, out)
        assert not any(out)
    with pytest.raises(Tampered):
        SegmentCipher(bytes(32), b"other", cipher.header).decrypt(segment, last, sealed, out)
