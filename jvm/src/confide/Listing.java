package confide;

import com.fasterxml.jackson.databind.JsonNode;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.TreeMap;
import java.util.TreeSet;

/** The commit record of a location: a reader reads exactly the files named here. */
final class Listing {
  /** File name of the copy that lies on storage, for readers without a broker. */
  static final String FILE_NAME = "_confide.listing";

  final String table;
  final long serial;
  final String key;
  private final Map<String, ListedFile> files = new TreeMap<>();
  private final Set<String> folders = new TreeSet<>();

  Listing(JsonNode json) throws ConfideException {
    table = Json.text(json, "table", "the listing");
    key = Json.text(json, "key", "the listing");
    serial = json.path("serial").asLong();
    folders.add("");
    for (JsonNode file : json.path("files")) {
      String path = Json.text(file, "path", "a listed file");
      files.put(path, new ListedFile(
          path, file.path("size").asLong(), Json.text(file, "binding", "a listed file")));
      for (int slash = path.indexOf('/'); slash >= 0; slash = path.indexOf('/', slash + 1)) {
        folders.add(path.substring(0, slash));
      }
    }
  }

  /** The file at this path; null if it is not listed. */
  ListedFile file(String path) {
    return files.get(path);
  }

  /** Whether a listed file lies below this path; the location itself always counts. */
  boolean isFolder(String path) {
    return folders.contains(path);
  }

  List<ListedFile> files() {
    return new ArrayList<>(files.values());
  }

  /** Listed files directly in a folder. */
  List<ListedFile> filesIn(String folder) {
    List<ListedFile> found = new ArrayList<>();
    for (ListedFile file : files.values()) {
      if (Names.parent(file.path()).equals(folder)) {
        found.add(file);
      }
    }
    return found;
  }

  /** Folders directly in a folder. */
  List<String> foldersIn(String folder) {
    List<String> found = new ArrayList<>();
    for (String path : folders) {
      if (!path.isEmpty() && Names.parent(path).equals(folder)) {
        found.add(path);
      }
    }
    return found;
  }
}
