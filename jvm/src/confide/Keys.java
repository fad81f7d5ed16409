package confide;

import com.fasterxml.jackson.databind.JsonNode;
import java.nio.charset.StandardCharsets;
import java.security.GeneralSecurityException;
import java.security.SecureRandom;
import java.util.Arrays;
import java.util.Base64;
import java.util.HashMap;
import java.util.HashSet;
import java.util.Map;
import java.util.Set;
import javax.crypto.AEADBadTagException;
import javax.crypto.Cipher;
import javax.crypto.Mac;
import javax.crypto.spec.GCMParameterSpec;
import javax.crypto.spec.SecretKeySpec;

/**
 * The named keys of the release; they wrap data keys and never encrypt data.
 *
 * <p>The same as {@code confide.keys.material}: a subkey by HKDF-SHA-256 (RFC 5869, no salt, info
 * "confide/v1/wrap"), AES-256-GCM, blob = nonce (12) || ciphertext || tag (16), the context as associated data.
 */
public final class Keys {
  private static final byte[] WRAP_INFO = "confide/v1/wrap".getBytes(StandardCharsets.US_ASCII);
  private static final int NONCE_BYTES = 12;
  private static final int TAG_BYTES = 16;
  private static final SecureRandom RANDOM = new SecureRandom();

  private record Named(int current, Map<Integer, SecretKeySpec> subkeys, Set<Integer> revoked) {}

  private final Map<String, Named> keys = new HashMap<>();

  /** Takes the {@code keys} of a release. */
  public Keys(JsonNode json) throws ConfideException {
    for (Map.Entry<String, JsonNode> entry : json.properties()) {
      Map<Integer, SecretKeySpec> subkeys = new HashMap<>();
      JsonNode versions = entry.getValue().path("versions");
      for (Map.Entry<String, JsonNode> version : versions.properties()) {
        byte[] secret = Base64.getDecoder().decode(version.getValue().asText());
        subkeys.put(Integer.valueOf(version.getKey()), new SecretKeySpec(subkey(secret), "AES"));
        Arrays.fill(secret, (byte) 0);
      }
      Set<Integer> revoked = new HashSet<>();
      entry.getValue().path("revoked").forEach(version -> revoked.add(version.asInt()));
      keys.put(entry.getKey(), new Named(entry.getValue().path("current").asInt(0), subkeys, revoked));
    }
  }

  /** Which version of each key wraps new data keys; 0: none does. */
  public HashMap<String, Integer> versions() {
    HashMap<String, Integer> versions = new HashMap<>();
    keys.forEach((name, key) -> versions.put(name, key.current));
    return versions;
  }

  /** Whether a key that is held here, too, wraps with an older version than these say. */
  boolean isBehind(Map<String, Integer> versions) {
    HashMap<String, Integer> own = versions();
    return versions.entrySet().stream()
        .anyMatch(other -> own.getOrDefault(other.getKey(), Integer.MAX_VALUE) < other.getValue());
  }

  /** The version of a key that wraps new data keys, as {@code owner/name:version}. */
  public String current(String name) throws ConfideException {
    Named key = named(name);
    if (key.current == 0 || key.revoked.contains(key.current)) {
      throw new ConfideException("RevokedKey", "key " + name + " wraps nothing new: revoked, or only to read");
    }
    return name + ":" + key.current;
  }

  /** Wraps a data key under {@code owner/name:version}, which must be the current one. */
  public byte[] wrap(String version, byte[] dataKey, byte[] context) throws ConfideException {
    if (!version.equals(current(nameOf(version)))) {
      throw new ConfideException("UnknownKey", version + " is not the current version of its key");
    }
    byte[] nonce = new byte[NONCE_BYTES];
    RANDOM.nextBytes(nonce);
    try {
      byte[] sealed = cipher(Cipher.ENCRYPT_MODE, subkeyOf(version), nonce, context).doFinal(dataKey);
      byte[] blob = Arrays.copyOf(nonce, nonce.length + sealed.length);
      System.arraycopy(sealed, 0, blob, nonce.length, sealed.length);
      return blob;
    } catch (GeneralSecurityException e) {
      throw new IllegalStateException("AES-GCM failed to encrypt", e);
    }
  }

  /** Unwraps a data key that {@code owner/name:version} wrapped with the same context. */
  public byte[] unwrap(String version, byte[] wrapped, byte[] context) throws ConfideException {
    SecretKeySpec subkey = subkeyOf(version);
    if (wrapped.length < NONCE_BYTES + TAG_BYTES) {
      throw new ConfideException("Tampered", "wrapped key is too short");
    }
    try {
      byte[] nonce = Arrays.copyOf(wrapped, NONCE_BYTES);
      return cipher(Cipher.DECRYPT_MODE, subkey, nonce, context)
          .doFinal(wrapped, NONCE_BYTES, wrapped.length - NONCE_BYTES);
    } catch (AEADBadTagException e) {
      throw new ConfideException("Tampered", "wrapped key does not authenticate");
    } catch (GeneralSecurityException e) {
      throw new IllegalStateException("AES-GCM failed to decrypt", e);
    }
  }

  private Named named(String name) throws ConfideException {
    Named key = keys.get(name);
    if (key == null) {
      throw new ConfideException("UnknownKey", "key " + name + " is not among the keys released here");
    }
    return key;
  }

  private SecretKeySpec subkeyOf(String version) throws ConfideException {
    Named key = named(nameOf(version));
    int number;
    try {
      number = Integer.parseInt(version.substring(version.lastIndexOf(':') + 1));
    } catch (NumberFormatException e) {
      throw new ConfideException("UnknownKey", "not a key version (expected owner/name:version)");
    }
    if (key.revoked.contains(number)) {
      throw new ConfideException("RevokedKey", "key " + version + " was revoked");
    }
    SecretKeySpec subkey = key.subkeys.get(number);
    if (subkey == null) {
      throw new ConfideException("UnknownKey", "key " + version + " does not exist here");
    }
    return subkey;
  }

  private static String nameOf(String version) throws ConfideException {
    int colon = version.lastIndexOf(':');
    if (colon < 1) {
      throw new ConfideException("UnknownKey", "not a key version (expected owner/name:version)");
    }
    return version.substring(0, colon);
  }

  private static Cipher cipher(int mode, SecretKeySpec key, byte[] nonce, byte[] context)
      throws GeneralSecurityException {
    Cipher cipher = Cipher.getInstance("AES/GCM/NoPadding");
    cipher.init(mode, key, new GCMParameterSpec(8 * TAG_BYTES, nonce));
    cipher.updateAAD(context);
    return cipher;
  }

  private static byte[] subkey(byte[] secret) {
    try {
      Mac mac = Mac.getInstance("HmacSHA256");
      mac.init(new SecretKeySpec(new byte[32], "HmacSHA256"));
      byte[] pseudorandom = mac.doFinal(secret);
      mac.init(new SecretKeySpec(pseudorandom, "HmacSHA256"));
      mac.update(WRAP_INFO);
      return mac.doFinal(new byte[] {1});
    } catch (GeneralSecurityException e) {
      throw new IllegalStateException("every Java has HmacSHA256", e);
    }
  }
}
