package confide;

import com.fasterxml.jackson.databind.JsonNode;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import org.apache.hadoop.fs.FSDataOutputStream;
import org.apache.hadoop.fs.Path;

/**
 * The sealed copy of a signed listing beside its files: what a reader without a broker checks the files
 * against. Inside a run the broker's own record decides, and nothing reads the copy.
 */
final class ListingCopy {
  private ListingCopy() {}

  static void write(GrantedArea area, Path file, JsonNode jws) throws IOException {
    byte[] dataKey = new byte[32];
    Listing listing = area.grant.listing();
    SealedHeader header = SealedHeader.create(area.guard.keys(), listing.key, listing.table, dataKey);
    if (area.raw instanceof LocalStorage local) {
      local.requireNoLinks(file.getParent());
    }
    // Under a new name first: a link laid at the old one is replaced, not followed; and nobody reads half a copy.
    Path fresh = new Path(file.getParent(), "." + file.getName() + "." + header.file);
    FSDataOutputStream stored = area.raw.create(fresh, false);
    try (SealedOutputStream out = new SealedOutputStream(stored, header, dataKey, size -> {})) {
      out.write(jws.toString().getBytes(StandardCharsets.UTF_8));
    }
    if (!area.raw.rename(fresh, file)) {
      throw new ConfideException("StorageUnavailable", "the listing's copy cannot be put beside the files: " + file);
    }
  }
}
