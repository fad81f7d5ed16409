package confide;

import com.fasterxml.jackson.databind.JsonNode;
import com.google.crypto.tink.subtle.AesGcmHkdfStreaming;
import java.io.IOException;
import java.io.InputStream;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.security.GeneralSecurityException;
import java.security.SecureRandom;
import java.util.Arrays;
import java.util.Base64;
import java.util.HexFormat;
import java.util.Map;
import java.util.regex.Pattern;
import org.apache.hadoop.fs.Path;

/**
 * The header of a sealed file: magic, length, and canonical JSON that names the key, the folder and the file
 * and carries the wrapped data key.
 *
 * <p>The body is Tink's AES256-GCM-HKDF-1MB under that data key with the whole header as associated data; so
 * the header's SHA-256 stands for the file.
 */
final class SealedHeader {
  static final int SEGMENT_BYTES = 1024 * 1024;
  private static final byte[] MAGIC = "CONFIDE\u0001".getBytes(StandardCharsets.ISO_8859_1);
  private static final int PREFIX_BYTES = MAGIC.length + 2;
  private static final int MAX_JSON_BYTES = 4096;
  private static final int TAG_BYTES = 16;
  private static final int STREAM_HEADER_BYTES = 40;
  private static final String PART = "[a-z0-9](?:[a-z0-9._-]{0,62}[a-z0-9])?";
  private static final Pattern KEY = Pattern.compile(PART + "/" + PART + ":[1-9][0-9]{0,8}");
  private static final SecureRandom RANDOM = new SecureRandom();

  /** The header as it stands in the file. */
  final byte[] bytes;
  final String folder;
  final String file;
  private final String key;
  private final byte[] wrapped;

  private SealedHeader(byte[] bytes, String key, String folder, String file, byte[] wrapped) {
    this.bytes = bytes;
    this.key = key;
    this.folder = folder;
    this.file = file;
    this.wrapped = wrapped;
  }

  /** A header for a new file; {@code dataKey} (32 bytes) receives its fresh data key. */
  static SealedHeader create(Keys keys, String keyName, String folder, byte[] dataKey)
      throws ConfideException {
    RANDOM.nextBytes(dataKey);
    byte[] id = new byte[16];
    RANDOM.nextBytes(id);
    String file = HexFormat.of().formatHex(id);
    String key = keys.current(keyName);
    byte[] wrapped = keys.wrap(key, dataKey, context(key, folder, file));
    byte[] json = Json.bytes(Map.of(
        "dek", Base64.getEncoder().encodeToString(wrapped), "file", file, "folder", folder, "key", key));
    byte[] bytes = ByteBuffer.allocate(PREFIX_BYTES + json.length)
        .put(MAGIC).putShort((short) json.length).put(json).array();
    return new SealedHeader(bytes, key, folder, file, wrapped);
  }

  /** Reads a header from where the stream stands. */
  static SealedHeader read(InputStream in, Path path) throws IOException {
    byte[] prefix = in.readNBytes(PREFIX_BYTES);
    int name = MAGIC.length - 1; // the magic's last byte is the version
    if (prefix.length < name || !Arrays.equals(prefix, 0, name, MAGIC, 0, name)) {
      throw new ConfideException("NotEncrypted", "not a sealed file: " + path);
    }
    if (prefix.length < PREFIX_BYTES) {
      throw new ConfideException("FileChanged", "cut off in its header: " + path);
    }
    if (prefix[name] != MAGIC[name]) {
      throw new ConfideException("InvalidFormat", "sealed file of unknown version " + prefix[name] + ": " + path);
    }
    int length = ByteBuffer.wrap(prefix, MAGIC.length, 2).getShort() & 0xFFFF;
    if (length > MAX_JSON_BYTES) {
      throw new ConfideException("InvalidFormat", "the header's length is out of bounds: " + path);
    }
    byte[] json = in.readNBytes(length);
    if (json.length < length) {
      throw new ConfideException("FileChanged", "cut off in its header: " + path);
    }
    byte[] bytes = ByteBuffer.allocate(PREFIX_BYTES + length).put(prefix).put(json).array();
    return parse(bytes, json, "the header of " + path);
  }

  private static SealedHeader parse(byte[] bytes, byte[] json, String what) throws ConfideException {
    JsonNode node = Json.object(json, what);
    String key = Json.text(node, "key", what);
    String folder = Json.text(node, "folder", what);
    String file = Json.text(node, "file", what);
    String dek = Json.text(node, "dek", what);
    if (!Arrays.equals(json, Json.bytes(Map.of("dek", dek, "file", file, "folder", folder, "key", key)))) {
      throw new ConfideException("InvalidFormat", what + " is not canonical");
    }
    if (!file.matches("[0-9a-f]{32}") || !folder.matches("[0-9a-f]{32}") || !KEY.matcher(key).matches()) {
      throw new ConfideException("InvalidFormat", what + " holds a malformed id or key");
    }
    byte[] wrapped;
    try {
      wrapped = Base64.getDecoder().decode(dek);
    } catch (IllegalArgumentException e) {
      throw new ConfideException("InvalidFormat", what + " holds malformed base64");
    }
    if (!Base64.getEncoder().encodeToString(wrapped).equals(dek)) {
      throw new ConfideException("InvalidFormat", what + " holds base64 that is not canonical");
    }
    return new SealedHeader(bytes, key, folder, file, wrapped);
  }

  String binding() {
    return Digests.hex(bytes);
  }

  byte[] dataKey(Keys keys) throws ConfideException {
    byte[] dataKey = keys.unwrap(key, wrapped, context(key, folder, file));
    if (dataKey.length != 32) {
      throw new ConfideException("InvalidFormat", "the sealed file's data key has not 32 bytes");
    }
    return dataKey;
  }

  /** Checks the first byte of the body, its own header's length: another length is another format. */
  void requireBody(InputStream in, Path path) throws IOException {
    int length = in.read();
    if (length != -1 && length != STREAM_HEADER_BYTES) {
      throw new ConfideException("InvalidFormat", "not a body of this format: " + path);
    }
  }

  /** Plain bytes of a file of {@code size} bytes with this header. */
  long plainLength(long size, Path path) throws ConfideException {
    long body = size - bytes.length;
    long segments = (body + SEGMENT_BYTES - 1) / SEGMENT_BYTES;
    long plain = body - STREAM_HEADER_BYTES - TAG_BYTES * segments;
    boolean lastTooShort = body % SEGMENT_BYTES > 0 && body % SEGMENT_BYTES < TAG_BYTES;
    if (body < STREAM_HEADER_BYTES + TAG_BYTES || lastTooShort) {
      throw new ConfideException("FileChanged", "cut off: " + path);
    }
    return plain;
  }

  /** The cipher of the body. */
  static AesGcmHkdfStreaming stream(byte[] dataKey) {
    try {
      return new AesGcmHkdfStreaming(dataKey, "HmacSha256", 32, SEGMENT_BYTES, 0);
    } catch (GeneralSecurityException e) {
      throw new IllegalStateException("Tink refused its own parameters", e);
    }
  }

  private static byte[] context(String key, String folder, String file) {
    return ("sealed:" + key + "@" + folder + "/" + file).getBytes(StandardCharsets.UTF_8);
  }
}
