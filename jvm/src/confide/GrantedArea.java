package confide;

import java.io.FileNotFoundException;
import java.io.IOException;
import java.util.ArrayList;
import java.util.HashSet;
import java.util.List;
import java.util.Set;
import org.apache.hadoop.fs.FSDataOutputStream;
import org.apache.hadoop.fs.FileStatus;
import org.apache.hadoop.fs.FileSystem;
import org.apache.hadoop.fs.Path;

/**
 * A granted location: what it holds is what its listing says, and storage must agree.
 *
 * <p>Names that start with '_' or '.' are the engine's own (staging folders of a write under way); they are seen
 * by writers only, as storage has them.
 */
abstract class GrantedArea extends Area {
  final Guard guard;
  final Grant grant;
  private final String top;

  /** {@code path} is any path of the location, {@code relative} the same relative to it. */
  GrantedArea(FileSystem raw, Guard guard, Grant grant, Path path, String relative) {
    super(raw);
    this.guard = guard;
    this.grant = grant;
    String text = path.toUri().getPath();
    this.top = relative.isEmpty() ? text : text.substring(0, text.length() - relative.length() - 1);
  }

  /** The status that readers see of a file which storage reports as {@code stored}. */
  abstract FileStatus checked(FileStatus stored, ListedFile expected) throws IOException;

  /** The status of a file that is neither listed nor written here, where the area knows any such. */
  abstract FileStatus unlisted(FileStatus stored, String path) throws IOException;

  final String relative(Path path) {
    String text = path.toUri().getPath();
    return text.length() <= top.length() + 1 ? "" : text.substring(top.length() + 1);
  }

  final Path absolute(Path like, String relative) {
    String text = relative.isEmpty() ? top : top + "/" + relative;
    return new Path(like.toUri().getScheme(), like.toUri().getAuthority(), text);
  }

  /** What is known of a file: from the listing, or because it was written here; null if nothing. */
  final ListedFile expected(String path) throws ConfideException {
    ListedFile known = known(path);
    if (known == null && mayBeNew(path) && guard.refresh()) {
      return known(path);
    }
    return known;
  }

  private ListedFile known(String path) {
    ListedFile own = guard.written().get(grant, path);
    Listing listing = grant.listing();
    return own != null || listing == null ? own : listing.file(path);
  }

  /** Whether a file that is not known here would be refused, and may have been committed since. */
  private boolean mayBeNew(String path) {
    Listing listing = grant.listing();
    boolean folder = path.isEmpty() || listing != null && listing.isFolder(path);
    return !folder && !Names.isHidden(path) && (listing != null || grant.isTable || !grant.write);
  }

  @Override
  final FileStatus status(Path path) throws IOException {
    String name = relative(path);
    requireVisible(name, path);
    ListedFile expected = expected(name);
    if (expected != null) {
      return checked(stored(path, expected), expected);
    }
    Listing listing = grant.listing();
    if (listing != null && !Names.isHidden(name) && listing.isFolder(name)) {
      return folder(path);
    }
    if (!grant.write) {
      requireListed(path);
    }
    FileStatus stored = raw.getFileStatus(path);
    if (!stored.isDirectory()) {
      return unlisted(stored, name);
    }
    if (!grant.write || grant.isTable && !Names.isHidden(name) && isEmpty(path)) {
      throw absent(path); // a table is there when it was committed, not when somebody made its folder
    }
    return stored;
  }

  @Override
  final FileStatus[] list(Path path) throws IOException {
    FileStatus status = status(path);
    if (!status.isDirectory()) {
      return new FileStatus[] {status};
    }
    String folder = relative(path);
    List<FileStatus> found = new ArrayList<>();
    Set<String> due = due(folder);
    for (FileStatus stored : storedIn(path)) {
      String name = Names.join(folder, stored.getPath().getName());
      due.remove(name);
      if (Names.last(name).equals(Listing.FILE_NAME) || (Names.isHidden(name) && !Names.isHidden(folder))) {
        continue;
      }
      if (stored.isDirectory()) {
        if (!Names.isHidden(name) && !isKnownFolder(name) && holdsFiles(stored.getPath())) {
          unlisted(stored, name);
        }
        found.add(stored);
      } else {
        ListedFile expected = expected(name);
        found.add(expected == null ? unlisted(stored, name) : checked(stored, expected));
      }
    }
    for (String name : due) {
      if (expected(name) != null || grant.listing() != null && grant.listing().isFolder(name)) {
        throw missing(absolute(path, name)); // not one that another thread just moved or deleted
      }
    }
    return found.toArray(new FileStatus[0]);
  }

  @Override
  final void requireWrite(Path path) throws IOException {
    grant.requireWrite();
    if (relative(path).contains("=")) {
      throw new ConfideException("NotEncrypted",
          "partition folders would hold values in clear, in their names: " + path);
    }
  }

  @Override
  final void deleted(Path path) {
    guard.written().deleted(grant, relative(path));
  }

  @Override
  final void renamed(Path from, Path to) {
    guard.written().renamed(grant, relative(from), relative(to));
  }

  /** Deletes what lies under a folder and is not listed: what an overwrite replaced. */
  final void sweep(Path folder) throws IOException {
    for (FileStatus stored : storedIn(folder)) {
      String name = relative(stored.getPath());
      if (Names.isHidden(name)) {
        continue;
      }
      if (stored.isDirectory() && grant.listing().isFolder(name)) {
        sweep(stored.getPath());
      } else if (grant.listing().file(name) == null) {
        remove(stored.getPath());
      }
    }
  }

  final void remove(Path path) throws IOException {
    raw.delete(path, true);
    deleted(path);
  }

  /** Refuses a location that holds something which nobody committed. */
  final void requireClean(Path folder) throws IOException {
    Listing listing = grant.listing();
    for (FileStatus stored : storedIn(folder)) {
      String name = relative(stored.getPath());
      if (Names.isHidden(name)) {
        continue;
      }
      if (stored.isDirectory()) {
        requireClean(stored.getPath());
      } else if (expected(name) == null) {
        throw new ConfideException("FileUnlisted", "nobody committed " + stored.getPath());
      }
    }
  }

  final FileStatus stored(Path path, ListedFile expected) throws IOException {
    try {
      return raw.getFileStatus(path);
    } catch (FileNotFoundException e) {
      if (expected(relative(path)) == null) {
        throw e; // deleted here meanwhile
      }
      throw missing(path);
    }
  }

  final void requireVisible(String name, Path path) throws IOException {
    if (Names.last(name).equals(Listing.FILE_NAME) || Names.isHidden(name) && !grant.write) {
      throw absent(path);
    }
  }

  final void requireListed(Path path) throws ConfideException {
    if (grant.listing() == null) {
      throw new ConfideException("FileMissing", "nothing was committed at " + grant.location + ": " + path);
    }
  }

  static ConfideException missing(Path path) {
    return new ConfideException("FileMissing", "listed, but not there: " + path);
  }

  private Set<String> due(String folder) {
    Set<String> due = new HashSet<>();
    guard.written().filesIn(grant, folder).forEach(file -> due.add(file.path()));
    Listing listing = grant.listing();
    if (listing != null && !Names.isHidden(folder)) {
      listing.filesIn(folder).forEach(file -> due.add(file.path()));
      due.addAll(listing.foldersIn(folder));
    }
    return due;
  }

  private boolean isKnownFolder(String name) {
    return grant.listing() != null && grant.listing().isFolder(name);
  }

  private boolean holdsFiles(Path folder) throws IOException {
    for (FileStatus stored : storedIn(folder)) {
      String name = relative(stored.getPath());
      boolean counts = !Names.isHidden(name) && expected(name) == null;
      if (counts && (!stored.isDirectory() || holdsFiles(stored.getPath()))) {
        return true;
      }
    }
    return false;
  }

  private boolean isEmpty(Path folder) throws IOException {
    for (FileStatus stored : storedIn(folder)) {
      if (!stored.getPath().getName().equals(Listing.FILE_NAME)) {
        return false;
      }
    }
    return true;
  }

  private FileStatus[] storedIn(Path folder) throws IOException {
    try {
      return raw.listStatus(folder);
    } catch (FileNotFoundException e) {
      return new FileStatus[0];
    }
  }

  /** A file for the engine that must stay empty, such as {@code _SUCCESS}. */
  static FSDataOutputStream emptyOnly(FSDataOutputStream out, Path file) throws IOException {
    return new FSDataOutputStream(new EmptyOutputStream(out, file), null);
  }
}
