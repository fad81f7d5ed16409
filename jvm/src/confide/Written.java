package confide;

import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;

/**
 * The files that this process wrote, by grant and path, following renames and deletions.
 *
 * <p>A commit takes sizes and bindings from here and never from storage, which may have changed them
 * meanwhile; and a file read back in the same run must be the one that was written.
 */
final class Written {
  private final Map<String, ListedFile> files = new TreeMap<>();

  private static String name(Grant grant, String path) {
    return grant.location + "\0" + path;
  }

  synchronized void put(Grant grant, String path, long size, String binding) {
    files.put(name(grant, path), new ListedFile(path, size, binding));
  }

  /** The file that this process wrote at this path; null if it wrote none. */
  synchronized ListedFile get(Grant grant, String path) {
    return files.get(name(grant, path));
  }

  synchronized void deleted(Grant grant, String path) {
    for (String inner : namesWithin(grant, path)) {
      files.remove(inner);
    }
  }

  synchronized void renamed(Grant grant, String from, String to) {
    deleted(grant, to);
    for (String inner : namesWithin(grant, from)) {
      ListedFile file = files.remove(inner);
      String rest = file.path().equals(from) ? "" : file.path().substring(from.isEmpty() ? 0 : from.length() + 1);
      String moved = Names.join(to, rest);
      put(grant, moved, file.size(), file.binding());
    }
  }

  /** Files that were written directly into a folder. */
  synchronized List<ListedFile> filesIn(Grant grant, String folder) {
    List<ListedFile> found = new ArrayList<>();
    for (String inner : namesWithin(grant, folder)) {
      ListedFile file = files.get(inner);
      if (Names.parent(file.path()).equals(folder)) {
        found.add(file);
      }
    }
    return found;
  }

  /** Files that were written at a path or below it. */
  synchronized List<ListedFile> within(Grant grant, String path) {
    return namesWithin(grant, path).stream().map(files::get).toList();
  }

  private List<String> namesWithin(Grant grant, String path) {
    List<String> found = new ArrayList<>();
    for (Map.Entry<String, ListedFile> entry : files.entrySet()) {
      if (entry.getKey().startsWith(grant.location + "\0") && Names.isWithin(entry.getValue().path(), path)) {
        found.add(entry.getKey());
      }
    }
    return found;
  }
}
