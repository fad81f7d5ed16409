package confide;

import com.fasterxml.jackson.databind.JsonNode;
import java.nio.charset.StandardCharsets;
import java.security.SecureRandom;
import java.util.HashMap;
import java.util.HexFormat;
import java.util.Map;

/**
 * What this workload may do at one location, and what is known to lie there now.
 *
 * <p>The listing changes with every commit of this run; all else is as released.
 */
final class Grant {
  final String owner;
  final String location;
  final boolean write;
  final boolean isTable;
  final boolean isStream;
  final String key;
  final Map<String, String> columns = new HashMap<>();
  /** When the broker was last asked for a first listing (`System.nanoTime`); null: never. */
  volatile Long asked;
  private String table;
  private Listing listing;

  Grant(JsonNode json) throws ConfideException {
    owner = Json.text(json, "owner", "a grant");
    location = Json.text(json, "location", "a grant");
    write = Json.text(json, "access", "a grant").equals("write");
    isTable = Json.text(json, "format", "a grant").equals("table");
    isStream = Json.text(json, "format", "a grant").equals("stream");
    key = Json.text(json, "key", "a grant");
    for (Map.Entry<String, JsonNode> column : json.path("columns").properties()) {
      columns.put(column.getKey(), column.getValue().asText());
    }
    table = json.path("table").isTextual() ? json.path("table").asText() : null;
    listing = json.path("listing").isObject() ? new Listing(json.get("listing")) : null;
  }

  /** The name of a stream, which its records are bound to. */
  String name() {
    return Names.last(location);
  }

  /** What was committed last; null if nothing ever was. */
  synchronized Listing listing() {
    return listing;
  }

  synchronized void committed(Listing newest) {
    listing = newest;
    table = newest.table;
  }

  /** Takes over a listing that was committed elsewhere, unless it is older than the one known. */
  synchronized void follow(Listing newest) {
    if (listing == null || newest.serial > listing.serial) {
      committed(newest);
    }
  }

  /**
   * The id that the files here are bound to.
   *
   * <p>Nothing committed yet: a table gets a random id, so that nothing of an earlier table at this place is
   * taken for a part of it. A folder of sealed files gets one made of its owner and location, because parts of
   * it may be written by several processes and runs that never commit (checkpoints, event logs).
   */
  synchronized String tableId() {
    if (table == null) {
      byte[] id = new byte[16];
      if (isTable) {
        new SecureRandom().nextBytes(id);
      } else {
        String name = "confide/v1/folder\0" + owner + "\0" + location;
        System.arraycopy(Digests.sha256(name.getBytes(StandardCharsets.UTF_8)), 0, id, 0, id.length);
      }
      table = HexFormat.of().formatHex(id);
    }
    return table;
  }

  /** Takes the id that the driver chose, where nothing was committed yet. */
  synchronized void adoptTable(String id) {
    if (listing == null) {
      table = id;
    }
  }

  /** The key of a top-level column. Engines ignore case in names, so a column is not missed for its case. */
  String keyOf(String column) {
    String exact = columns.get(column);
    if (exact != null) {
      return exact;
    }
    for (Map.Entry<String, String> entry : columns.entrySet()) {
      if (entry.getKey().equalsIgnoreCase(column)) {
        return entry.getValue();
      }
    }
    return key;
  }

  @Override
  public String toString() {
    return (write ? "write " : "read ") + location;
  }

  void requireWrite() throws ConfideException {
    if (!write) {
      throw new ConfideException("NoGrant", "the grant of " + location + " is to read, not to write");
    }
  }
}
