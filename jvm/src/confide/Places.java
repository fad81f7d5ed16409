package confide;

import java.net.URI;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.List;
import java.util.stream.Collectors;
import org.apache.hadoop.fs.Path;

/**
 * The table of all places: a path belongs to the longest entry that it lies in, compared name by name.
 *
 * <p>What lies in no entry is refused. So is what lies under the data root outside every grant, even where the
 * data root itself lies in a scratch folder.
 */
final class Places {
  private record Entry(String prefix, Place.Kind kind, Grant grant) {}

  /** Grants that a refusal names; of more it says how many. */
  private static final int MAX_NAMED = 8;
  private final List<Entry> entries = new ArrayList<>();
  private final List<Grant> grants;
  private final String root;

  Places(String root, List<String> scratch, List<String> program, List<Grant> grants) {
    this.root = canonical(new Path("file:" + root).toUri());
    this.grants = List.copyOf(grants);
    scratch.forEach(folder -> entries.add(new Entry("file:" + folder, Place.Kind.SCRATCH, null)));
    program.forEach(folder -> entries.add(new Entry("file:" + folder, Place.Kind.PROGRAM, null)));
    entries.add(new Entry("file:" + root, null, null));
    for (Grant grant : grants) {
      boolean absolute = grant.location.contains(":/");
      String text = absolute ? grant.location : "file:" + root + "/" + grant.location;
      entries.add(new Entry(canonical(new Path(text).toUri()), Place.Kind.GRANTED, grant));
    }
    entries.sort(Comparator.comparingInt((Entry entry) -> entry.prefix.length()).reversed());
  }

  /** The grant of a location, as the policy names it; null if there is none. */
  Grant grantAt(String location) {
    return grants.stream().filter(grant -> grant.location.equals(location)).findFirst().orElse(null);
  }

  /** Finds the place of a qualified path. */
  Place find(Path path) throws ConfideException {
    String text = canonical(path.toUri());
    if (text.contains("/../") || text.endsWith("/..") || text.indexOf('\0') >= 0) {
      throw new ConfideException("NoGrant", "not a plain path: " + path);
    }
    for (Entry entry : entries) {
      if (Names.isWithin(text, entry.prefix) && entry.kind != null) {
        String rest = text.length() == entry.prefix.length() ? "" : text.substring(entry.prefix.length() + 1);
        return new Place(entry.kind, entry.grant, entry.grant == null ? "" : rest);
      }
      if (Names.isWithin(text, entry.prefix)) {
        break;
      }
    }
    for (Entry entry : entries) {
      if (entry.grant != null && (text.endsWith(":/") || Names.isWithin(entry.prefix, text))) {
        return new Place(Place.Kind.ABOVE, null, "");
      }
    }
    throw new ConfideException("NoGrant", "no grant for " + fromRoot(text) + "; granted: " + granted());
  }

  private String fromRoot(String text) {
    return Names.isWithin(text, root) && text.length() > root.length() ? text.substring(root.length() + 1) : text;
  }

  private String granted() {
    if (grants.isEmpty()) {
      return "nothing";
    }
    String named = grants.stream().limit(MAX_NAMED).map(Grant::toString).collect(Collectors.joining(", "));
    int more = grants.size() - MAX_NAMED;
    return more > 0 ? named + " and " + more + " more" : named;
  }

  private static String canonical(URI uri) {
    String scheme = uri.getScheme() == null ? "file" : uri.getScheme().toLowerCase(java.util.Locale.ROOT);
    String authority = uri.getAuthority() == null ? "" : "//" + uri.getAuthority();
    String path = uri.getPath();
    boolean trailing = path.length() > 1 && path.endsWith("/");
    return scheme + ":" + authority + (trailing ? path.substring(0, path.length() - 1) : path);
  }
}
