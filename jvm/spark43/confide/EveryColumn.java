package confide;

import java.util.Map;
import org.apache.parquet.crypto.ColumnEncryptionProperties;
import org.apache.parquet.crypto.FileEncryptionProperties;
import org.apache.parquet.hadoop.metadata.ColumnPath;

/** Has Parquet encrypt the columns that nobody named, too: with the footer's key. */
final class EveryColumn {
  private EveryColumn() {}

  /**
   * @param owned the leaves with a key of their own
   * @param others the writer's other leaves
   */
  static FileEncryptionProperties build(FileEncryptionProperties.Builder file,
      Map<ColumnPath, ColumnEncryptionProperties> owned, Iterable<ColumnPath> others) {
    if (!owned.isEmpty()) { // without, it is what Parquet does, and it takes no empty map
      file.withEncryptedColumns(owned).withCompleteColumnEncryption();
    }
    return file.build();
  }
}
