package confide;

import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.security.GeneralSecurityException;
import java.util.Arrays;
import java.util.HexFormat;
import java.util.regex.Pattern;
import javax.crypto.Cipher;
import javax.crypto.spec.GCMParameterSpec;
import javax.crypto.spec.SecretKeySpec;

/**
 * A sealed record, taken apart; nothing is verified. The same as {@code confide.data.records}.
 *
 * @param start the header without the number
 * @param key the version that wrapped the data key, {@code owner/name:version}
 * @param producer who made it
 * @param wrapped the data key
 * @param number its place among what the producer made, from 1
 */
record SealedRecord(byte[] start, String key, byte[] producer, byte[] wrapped, long number) {
  static final int PRODUCER_BYTES = 16;
  static final int KEY_BYTES = 32;
  static final int MAX_PLAIN_BYTES = 256 * 1024;
  private static final byte[] MAGIC = {'C', 'O', 'N', 'F', 'I', 'D', 'R', 1};
  private static final int NONCE_BYTES = 12;
  private static final int TAG_BYTES = 16;
  private static final int WRAPPED_BYTES = NONCE_BYTES + KEY_BYTES + TAG_BYTES;
  private static final long MAX_NUMBER = (1L << 53) - 1;
  private static final String PART = "[a-z0-9](?:[a-z0-9._-]{0,62}[a-z0-9])?";
  private static final Pattern KEY_VERSION = Pattern.compile(PART + "/" + PART + ":[1-9][0-9]{0,8}");

  static SealedRecord parse(byte[] bytes) throws ConfideException {
    int fixed = MAGIC.length + 1;
    if (bytes.length < MAGIC.length - 1 || !Arrays.equals(bytes, 0, MAGIC.length - 1, MAGIC, 0, MAGIC.length - 1)) {
      throw new ConfideException("NotEncrypted", "not a sealed record");
    }
    if (bytes.length < fixed) {
      throw new ConfideException("Tampered", "sealed record ends inside its header");
    }
    if (bytes[MAGIC.length - 1] != MAGIC[MAGIC.length - 1]) {
      throw new ConfideException("InvalidFormat", "sealed record of unknown version " + (bytes[MAGIC.length - 1] & 0xFF));
    }
    int end = fixed + (bytes[MAGIC.length] & 0xFF);
    int start = end + PRODUCER_BYTES + WRAPPED_BYTES;
    int body = start + Long.BYTES;
    if (bytes.length < body + TAG_BYTES) {
      throw new ConfideException("Tampered", "sealed record is cut off");
    }
    if (bytes.length > body + MAX_PLAIN_BYTES + TAG_BYTES) {
      throw new ConfideException("InvalidFormat", "sealed record of more than " + MAX_PLAIN_BYTES + " bytes");
    }
    String key = new String(bytes, fixed, end - fixed, StandardCharsets.ISO_8859_1);
    if (!KEY_VERSION.matcher(key).matches()) {
      throw new ConfideException("InvalidFormat", "sealed record names no key version");
    }
    long number = ByteBuffer.wrap(bytes).getLong(start);
    if (number < 1 || number > MAX_NUMBER) {
      throw new ConfideException("InvalidFormat", "sealed record of number " + Long.toUnsignedString(number));
    }
    return new SealedRecord(
        Arrays.copyOf(bytes, start), key, Arrays.copyOfRange(bytes, end, end + PRODUCER_BYTES),
        Arrays.copyOfRange(bytes, end + PRODUCER_BYTES, start), number);
  }

  static byte[] start(String key, byte[] producer, byte[] wrapped) {
    byte[] name = key.getBytes(StandardCharsets.US_ASCII);
    return ByteBuffer.allocate(MAGIC.length + 1 + name.length + producer.length + wrapped.length)
        .put(MAGIC).put((byte) name.length).put(name).put(producer).put(wrapped).array();
  }

  /** What the wrapped data key is bound to. */
  static byte[] context(String key, String stream, byte[] producer) {
    return ("stream:" + key + "@" + stream + "/" + HexFormat.of().formatHex(producer)).getBytes(StandardCharsets.UTF_8);
  }

  /** Sets a cipher up for one record; no nonce comes twice with one key, since numbers do not. */
  static void init(Cipher cipher, int mode, SecretKeySpec key, long number, byte[] header, int headerBytes)
      throws GeneralSecurityException {
    byte[] nonce = ByteBuffer.allocate(NONCE_BYTES).putInt(0).putLong(number).array();
    cipher.init(mode, key, new GCMParameterSpec(8 * TAG_BYTES, nonce));
    cipher.updateAAD(header, 0, headerBytes);
  }

  static Cipher cipher() {
    try {
      return Cipher.getInstance("AES/GCM/NoPadding");
    } catch (GeneralSecurityException e) {
      throw new IllegalStateException("every Java has AES-GCM", e);
    }
  }

  int headerBytes() {
    return start.length + Long.BYTES;
  }
}
