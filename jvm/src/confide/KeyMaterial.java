package confide;

import com.fasterxml.jackson.databind.JsonNode;
import java.nio.charset.StandardCharsets;
import java.util.HashMap;
import java.util.Map;
import org.apache.parquet.crypto.ParquetCryptoRuntimeException;

/**
 * The key metadata of a Parquet file as Parquet's key tools write it ("PKMT1", kept inside the file, single
 * wrapping), so that pyarrow and any other Parquet reads what we write.
 */
final class KeyMaterial {
  private static final int MAX_BYTES = 4096;

  private KeyMaterial() {}

  static byte[] write(ParquetKms kms, String keyName, byte[] dataKey, boolean isFooterKey) {
    String identifier = kms.identifier(keyName);
    Map<String, Object> material = new HashMap<>();
    material.put("keyMaterialType", "PKMT1");
    material.put("internalStorage", true);
    material.put("isFooterKey", isFooterKey);
    if (isFooterKey) {
      material.put("kmsInstanceID", "DEFAULT");
      material.put("kmsInstanceURL", "DEFAULT");
    }
    material.put("masterKeyID", identifier);
    material.put("wrappedDEK", kms.wrapKey(dataKey, identifier));
    material.put("doubleWrapping", false);
    return Json.bytes(material);
  }

  static byte[] open(ParquetKms kms, byte[] metadata) {
    try {
      if (metadata.length > MAX_BYTES) {
        throw new ConfideException("InvalidFormat", "key metadata is larger than 4 KiB");
      }
      JsonNode json = Json.object(metadata, "key metadata");
      if (!json.path("keyMaterialType").asText().equals("PKMT1")
          || !json.path("internalStorage").asBoolean()
          || json.path("doubleWrapping").asBoolean(true)) {
        throw new ConfideException("InvalidFormat", "key metadata is not internal, single-wrapped PKMT1");
      }
      return kms.unwrapKey(
          Json.text(json, "wrappedDEK", "key metadata"), Json.text(json, "masterKeyID", "key metadata"));
    } catch (ConfideException e) {
      throw new ParquetCryptoRuntimeException(e.getMessage(), e);
    }
  }
}
