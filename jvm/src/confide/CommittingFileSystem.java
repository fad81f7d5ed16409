package confide;

import java.io.FileNotFoundException;
import java.io.IOException;
import java.net.URI;
import java.util.List;
import java.util.function.Predicate;
import org.apache.hadoop.conf.Configuration;
import org.apache.hadoop.fs.FSDataInputStream;
import org.apache.hadoop.fs.FilterFileSystem;
import org.apache.hadoop.fs.Path;

/**
 * The guard for engines that commit file by file: a file is part of its location from the moment that it gets its
 * final name.
 *
 * <p>Such engines write under hidden names and rename. That rename is the commit: the listing at the broker names the
 * file from then on, and no longer names one that is deleted. Files written under a visible name at once, as
 * checkpoints are, get into no listing.
 */
public final class CommittingFileSystem extends FilterFileSystem {
  /** Commits of other processes, one after the other, that one of this process waits for. */
  private static final int MAX_CONFLICTS = 1000;
  /** One change at a time; no grant's own lock, as taking over what others committed locks one grant after the other. */
  private static final Object CHANGES = new Object();

  private final GuardFileSystem guarded;

  private CommittingFileSystem(GuardFileSystem guarded) {
    super(guarded);
    this.guarded = guarded;
  }

  /** Hadoop's configuration for readers that want one: every path through the guard, every table decrypted. */
  public static Configuration configuration() {
    Configuration conf = new Configuration(false);
    conf.set("fs.file.impl", LocalGuard.class.getName());
    conf.set("parquet.crypto.factory.class", ParquetCrypto.class.getName());
    return conf;
  }

  /** The file system of the enclave's {@code file:} paths. */
  public static CommittingFileSystem create() throws IOException {
    Configuration conf = configuration();
    GuardFileSystem guarded = new GuardFileSystem();
    guarded.initialize(URI.create("file:///"), conf);
    CommittingFileSystem fs = new CommittingFileSystem(guarded);
    fs.setConf(conf);
    return fs;
  }

  /** Takes over what other processes committed meanwhile. */
  public static void followOthers() throws IOException {
    Guard.get().refresh();
  }

  /** Whether a path lies in a granted location whose content a listing says. */
  public static boolean isListed(Path path) throws IOException {
    GrantedArea area = GuardFileSystem.granted(path, configuration());
    return area != null && area.grant.listing() != null;
  }

  @Override
  public boolean rename(Path from, Path to) throws IOException {
    if (!guarded.rename(from, to)) {
      return false;
    }
    GrantedArea area = files(to);
    if (area != null && Names.isHidden(area.relative(qualified(from))) && !Names.isHidden(area.relative(qualified(to)))) {
      commit(to);
    }
    return true;
  }

  @Override
  public boolean delete(Path path, boolean recursive) throws IOException {
    GrantedArea area = files(path);
    boolean deleted = guarded.delete(path, recursive);
    if (deleted && area != null && area.grant.listing() != null) {
      String name = area.relative(qualified(path));
      if (area.grant.listing().files().stream().anyMatch(file -> Names.isWithin(file.path(), name))) {
        change(area, path, List.of(), file -> Names.isWithin(file, name));
      }
    }
    return deleted;
  }

  /** What this process wrote at a path; null if the path is in no location of sealed files. */
  public ListedFile written(Path path) throws IOException {
    GrantedArea area = files(path);
    return area == null ? null : area.guard.written().get(area.grant, area.relative(qualified(path)));
  }

  /** Takes a file that an earlier process wrote for one of this process, if it is the very same. */
  public void adopt(Path path, ListedFile expected) throws IOException {
    GrantedArea area = files(path);
    if (area == null) {
      return;
    }
    Path stored = qualified(path);
    try (FSDataInputStream in = area.raw.open(stored, 512)) {
      if (!Digests.same(SealedHeader.read(in, stored).binding(), expected.binding())
          || area.raw.getFileStatus(stored).getLen() != expected.size()) {
        throw new ConfideException("FileChanged", "another file than the one written: " + path);
      }
    } catch (FileNotFoundException e) {
      throw GrantedArea.missing(path);
    }
    area.guard.written().put(area.grant, area.relative(stored), expected.size(), expected.binding());
  }

  /** Whether storage has the file at all, known or not. */
  public boolean isStored(Path path) throws IOException {
    Area area = guarded.area(path);
    return area.raw.exists(qualified(path));
  }

  /**
   * Returns if a path is a file that was committed: in a location of sealed files, one that the newest listing names.
   *
   * @throws ConfideException FileMissing: there is no listing, or it does not name the file
   */
  public void requireCommitted(Path path) throws IOException {
    GrantedArea area = files(path);
    if (area != null) {
      area.guard.refresh();
      Listing listing = area.grant.listing();
      if (listing == null || listing.file(area.relative(qualified(path))) == null) {
        throw new ConfideException("FileMissing", "never committed, and parts of it are not there: " + path);
      }
    }
    getFileStatus(path);
  }

  /** Makes what this process wrote at the path, a file or a folder, part of the location. */
  public void commit(Path path) throws IOException {
    GrantedArea area = files(path);
    if (area == null) {
      return;
    }
    String name = area.relative(qualified(path));
    List<ListedFile> added = area.guard.written().within(area.grant, name).stream()
        .filter(file -> !Names.isHidden(file.path()))
        .toList();
    if (!added.isEmpty()) {
      change(area, path, added, file -> Names.isWithin(file, name));
    }
  }

  /**
   * Commits a change, on top of what other processes committed meanwhile. Whoever committed last writes the copy of the
   * listing; one that was written all the same and is no longer the newest is followed by a newer one, once: processes
   * that commit at the same time would drive one another on.
   */
  private static void change(GrantedArea area, Path path, List<ListedFile> added, Predicate<String> removed)
      throws IOException {
    synchronized (CHANGES) {
      Guard.Commit own = commit(area, added, removed);
      if (writeCopy(area, path, own) && isBehind(area, own)) {
        writeCopy(area, path, commit(area, List.of(), file -> false));
      }
    }
  }

  /** Writes the copy of the listing, unless another process has committed since, and says whether it did. */
  private static boolean writeCopy(GrantedArea area, Path path, Guard.Commit own) throws IOException {
    if (isBehind(area, own)) {
      return false;
    }
    ListingCopy.write(area, area.absolute(path, Listing.FILE_NAME), own.jws());
    return true;
  }

  private static Guard.Commit commit(GrantedArea area, List<ListedFile> added, Predicate<String> removed)
      throws IOException {
    for (int attempt = 1; ; attempt++) {
      try {
        return area.guard.commit(area.grant, added, removed);
      } catch (ConfideException e) {
        if (!e.kind().equals("Conflict") || attempt == MAX_CONFLICTS || !area.guard.refresh()) {
          throw e;
        }
      }
    }
  }

  /** Whether another process has committed since; that is known here from then on. */
  private static boolean isBehind(GrantedArea area, Guard.Commit own) throws IOException {
    return area.guard.refresh() && area.grant.listing().serial > own.serial();
  }

  /** The location of sealed files that a path lies in; null if it lies in none. */
  private GrantedArea files(Path path) throws IOException {
    Area area = guarded.area(path);
    return area instanceof FilesArea ? (FilesArea) area : null;
  }

  private Path qualified(Path path) {
    return guarded.makeQualified(path);
  }
}
