package confide;

import java.util.HashMap;
import java.util.Map;
import org.apache.parquet.crypto.ColumnEncryptionProperties;
import org.apache.parquet.crypto.FileEncryptionProperties;
import org.apache.parquet.hadoop.metadata.ColumnPath;

/**
 * Has Parquet encrypt the columns without a key of their own, too: with the footer's. This Parquet does so by itself only
 * while no column is named; once one is, all others have to be, or they are written in clear.
 */
final class EveryColumn {
  private EveryColumn() {}

  /**
   * @param owned the leaves with a key of their own
   * @param others the writer's other leaves
   */
  static FileEncryptionProperties build(FileEncryptionProperties.Builder file,
      Map<ColumnPath, ColumnEncryptionProperties> owned, Iterable<ColumnPath> others) {
    if (owned.isEmpty()) {
      return file.build();
    }
    Map<ColumnPath, ColumnEncryptionProperties> all = new HashMap<>(owned);
    for (ColumnPath other : others) {
      all.put(other, ColumnEncryptionProperties.builder(other).build());
    }
    return file.withEncryptedColumns(all).build();
  }
}
