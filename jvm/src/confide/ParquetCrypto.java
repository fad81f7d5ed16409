package confide;

import java.io.IOException;
import java.security.SecureRandom;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import org.apache.hadoop.conf.Configuration;
import org.apache.hadoop.fs.Path;
import org.apache.parquet.crypto.ColumnEncryptionProperties;
import org.apache.parquet.crypto.DecryptionPropertiesFactory;
import org.apache.parquet.crypto.EncryptionPropertiesFactory;
import org.apache.parquet.crypto.FileDecryptionProperties;
import org.apache.parquet.crypto.FileEncryptionProperties;
import org.apache.parquet.crypto.ParquetCipher;
import org.apache.parquet.crypto.ParquetCryptoRuntimeException;
import org.apache.parquet.hadoop.api.WriteSupport.WriteContext;
import org.apache.parquet.hadoop.metadata.ColumnPath;

/**
 * Says with which keys a Parquet file is written and read: by the grant of the place where it lies, and by
 * nothing that a program can set.
 *
 * <p>Every column is encrypted: one with a key of its own under that (with all its leaves), any other under the
 * table's, which is the footer's ({@link EveryColumn}). Only in scratch, which is private to the enclave, Parquet stays plain.
 */
public final class ParquetCrypto implements EncryptionPropertiesFactory, DecryptionPropertiesFactory {
  private static final SecureRandom RANDOM = new SecureRandom();

  @Override
  public FileEncryptionProperties getFileEncryptionProperties(
      Configuration conf, Path file, WriteContext context) {
    Grant grant = table(file, conf);
    if (grant == null) {
      return null;
    }
    ParquetKms kms = new ParquetKms(guard().keys(), grant.tableId());
    byte[] footerKey = dataKey();
    Map<ColumnPath, ColumnEncryptionProperties> owned = new HashMap<>();
    List<ColumnPath> others = new ArrayList<>();
    for (String[] leaf : context.getSchema().getPaths()) {
      String key = grant.keyOf(leaf[0]);
      ColumnPath path = ColumnPath.get(leaf);
      if (key.equals(grant.key)) {
        others.add(path);
      } else {
        byte[] columnKey = dataKey();
        owned.put(path, ColumnEncryptionProperties.builder(path)
            .withKey(columnKey)
            .withKeyMetaData(KeyMaterial.write(kms, key, columnKey, false))
            .build());
      }
    }
    FileEncryptionProperties.Builder properties = FileEncryptionProperties.builder(footerKey)
        .withFooterKeyMetadata(KeyMaterial.write(kms, grant.key, footerKey, true))
        .withAlgorithm(ParquetCipher.AES_GCM_V1);
    return EveryColumn.build(properties, owned, others);
  }

  @Override
  public FileDecryptionProperties getFileDecryptionProperties(Configuration conf, Path file) {
    if (file == null) {
      return null; // as Spark 3.5 asks again where there were none for the path; without, what is encrypted cannot be read
    }
    Grant grant = table(file, conf);
    if (grant == null) {
      return null;
    }
    // Asked for when the file has been opened: by then an executor knows of a table that was committed elsewhere.
    return FileDecryptionProperties.builder()
        .withKeyRetriever(metadata -> KeyMaterial.open(new ParquetKms(guard().keys(), grant.tableId()), metadata))
        .build();
  }

  /** The grant of the table that the file belongs to; null in scratch and among sealed files. */
  private static Grant table(Path file, Configuration conf) {
    try {
      Grant grant = guard().place(GuardFileSystem.under(file, conf)).grant();
      return grant == null || !grant.isTable ? null : grant; // sealed files are sealed as a whole
    } catch (IOException e) {
      throw new ParquetCryptoRuntimeException(e.getMessage(), e);
    }
  }

  private static Guard guard() {
    try {
      return Guard.get();
    } catch (ConfideException e) {
      throw new ParquetCryptoRuntimeException(e.getMessage(), e);
    }
  }

  private static byte[] dataKey() {
    byte[] key = new byte[32];
    RANDOM.nextBytes(key);
    return key;
  }
}
