package confide;

import java.nio.charset.StandardCharsets;
import java.util.Base64;
import org.apache.hadoop.conf.Configuration;
import org.apache.parquet.crypto.KeyAccessDeniedException;
import org.apache.parquet.crypto.keytools.KmsClient;

/**
 * Wraps the data keys of one table's Parquet files.
 *
 * <p>A key's identifier inside a file is {@code owner/name:version@table}. It is the wrap's context as a whole,
 * and a client is opened for one table; so a file of another table does not open here, same key or not.
 */
public final class ParquetKms implements KmsClient {
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
      return keys.current(name) + "@" + table;
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
    int at = identifier.lastIndexOf('@');
    if (at < 0 || !Digests.same(identifier.substring(at + 1), table)) {
      throw new ConfideException("FileChanged", "the file belongs to another table than " + table);
    }
    return identifier.substring(0, at);
  }

  private static byte[] context(String identifier) {
    return identifier.getBytes(StandardCharsets.UTF_8);
  }
}
