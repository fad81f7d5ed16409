package confide;

import java.nio.charset.StandardCharsets;
import java.util.Base64;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import org.apache.hadoop.conf.Configuration;
import org.apache.parquet.crypto.KeyAccessDeniedException;
import org.apache.parquet.crypto.keytools.KmsClient;

/**
 * Wraps the data keys of one table's Parquet files.
 *
 * <p>A key's identifier inside a file is {@code owner/name/version@table} (a slash before the version, because
 * Parquet's key tools split their settings at colons). It is the wrap's context as a whole, and a client is
 * opened for one table; so a file of another table does not open here, same key or not.
 */
public final class ParquetKms implements KmsClient {
  private static final int MAX_CHARS = 256;
  private static final Pattern IDENTIFIER =
      Pattern.compile("([^/@:]+/[^/@:]+)[/:]([0-9]+)@([0-9a-f]{32})");

  private final Keys keys;
  private final String table;

  public ParquetKms(Keys keys, String table) {
    this.keys = keys;
    this.table = table;
  }

  /** Nothing to do: keys come from the agent, never from an engine's settings. */
  @Override
  public void initialize(Configuration conf, String instanceId, String instanceUrl, String token) {}

  /** The identifier under which new data keys of {@code name} are wrapped. */
  public String identifier(String name) {
    try {
      String version = keys.current(name);
      int colon = version.lastIndexOf(':');
      return version.substring(0, colon) + "/" + version.substring(colon + 1) + "@" + table;
    } catch (ConfideException e) {
      throw new KeyAccessDeniedException(e.getMessage());
    }
  }

  @Override
  public String wrapKey(byte[] dataKey, String identifier) {
    try {
      return Base64.getEncoder().encodeToString(keys.wrap(version(identifier), dataKey, context(identifier)));
    } catch (ConfideException e) {
      throw new KeyAccessDeniedException(e.getMessage());
    }
  }

  @Override
  public byte[] unwrapKey(String wrapped, String identifier) {
    try {
      return keys.unwrap(version(identifier), Base64.getDecoder().decode(wrapped), context(identifier));
    } catch (IllegalArgumentException e) {
      throw new KeyAccessDeniedException("Tampered: wrapped key is not base64");
    } catch (ConfideException e) {
      throw new KeyAccessDeniedException(e.getMessage());
    }
  }

  private String version(String identifier) throws ConfideException {
    Matcher match = IDENTIFIER.matcher(identifier);
    if (identifier.length() > MAX_CHARS || !match.matches()) {
      throw new ConfideException("InvalidFormat", "a key identifier is not owner/name/version@table");
    }
    if (!Digests.same(match.group(3), table)) {
      throw new ConfideException("FileChanged", "the Parquet file belongs to another table");
    }
    return match.group(1) + ":" + match.group(2);
  }

  private static byte[] context(String identifier) {
    return identifier.getBytes(StandardCharsets.UTF_8);
  }
}
