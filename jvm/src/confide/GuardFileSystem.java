package confide;

import java.io.FileNotFoundException;
import java.io.IOException;
import java.net.URI;
import java.util.EnumSet;
import java.util.concurrent.CompletableFuture;
import org.apache.hadoop.conf.Configuration;
import org.apache.hadoop.fs.CreateFlag;
import org.apache.hadoop.fs.FSDataInputStream;
import org.apache.hadoop.fs.FSDataOutputStream;
import org.apache.hadoop.fs.FileAlreadyExistsException;
import org.apache.hadoop.fs.FileStatus;
import org.apache.hadoop.fs.FileSystem;
import org.apache.hadoop.fs.Path;
import org.apache.hadoop.fs.impl.OpenFileParameters;
import org.apache.hadoop.fs.permission.FsPermission;
import org.apache.hadoop.util.LambdaUtils;
import org.apache.hadoop.util.Progressable;

/**
 * The only file system that an engine sees: every path is either granted, private to the enclave, part of the
 * program, or refused.
 *
 * <p>Registered in place of the storage's own ({@code fs.<scheme>.impl}; for {@code file}, {@link LocalGuard}),
 * which it holds inside and hands to nobody: folders of the host, for {@code file} and the schemes that {@code confide.folders}
 * names. It extends the abstract FileSystem and not a forwarding one, so that an operation nobody thought of is
 * unsupported rather than unguarded.
 */
public final class GuardFileSystem extends FileSystem {
  /** As Hadoop calls it from 3.3.5 on. */
  private static final String READ_POLICY = "fs.option.openfile.read.policy";

  private URI uri;
  private LocalStorage raw;
  private Guard guard;
  private Path workingDirectory;

  @Override
  public void initialize(URI name, Configuration conf) throws IOException {
    super.initialize(name, conf);
    setConf(conf);
    guard = Guard.get();
    String scheme = name.getScheme();
    String mount = System.getProperty("confide.storage", guard.root());
    if (scheme.equals("file")) {
      raw = new LocalStorage(guard.root(), mount);
    } else if (name.getAuthority() != null && conf.getTrimmedStringCollection("confide.folders").contains(scheme)) {
      raw = new FolderStorage(name, mount);
    } else {
      throw new ConfideException("NoGrant", "no storage of scheme " + scheme + " is set up");
    }
    raw.initialize(name, conf);
    uri = raw.getUri();
    workingDirectory = scheme.equals("file") ? new Path("file:" + guard.root()) : raw.getWorkingDirectory();
  }

  /**
   * The qualified path in storage's own scheme, which {@code sealed:} paths have too; refused where another file system
   * than the guard would open it.
   */
  static Path under(Path path, Configuration conf) throws IOException {
    FileSystem fs = path.getFileSystem(conf);
    if (fs instanceof SealedFileSystem sealed) {
      return sealed.under(path);
    }
    guarding(fs, path);
    return fs.makeQualified(path);
  }

  private static GuardFileSystem guarding(FileSystem fs, Path path) throws ConfideException {
    if (LocalGuard.unwrap(fs) instanceof GuardFileSystem guard) {
      return guard;
    }
    throw new ConfideException("NoGrant", "not a guarded path: " + path);
  }

  /** Whether a path lies in a granted location, and not in scratch or the program. */
  public static boolean isGranted(Path path, Configuration conf) throws IOException {
    return granted(path, conf) != null;
  }

  /** The granted area that a path lies in; null if it lies in none. */
  static GrantedArea granted(Path path, Configuration conf) throws IOException {
    Path qualified = under(path, conf);
    Area area = guarding(qualified.getFileSystem(conf), path).area(qualified);
    return area instanceof GrantedArea ? (GrantedArea) area : null;
  }

  Area area(Path path) throws ConfideException {
    Path qualified = makeQualified(path);
    Place place = guard.place(qualified);
    if (place.grant() != null) {
      raw.requireNoLinks(qualified);
      if (raw instanceof FolderStorage folder) {
        folder.requireMounted();
      }
    }
    return switch (place.kind()) {
      case SCRATCH -> new PlainArea(raw, false);
      case PROGRAM -> new PlainArea(raw, true);
      case ABOVE -> new AboveArea(raw);
      case GRANTED -> place.grant().isTable
          ? new TableArea(raw, guard, place.grant(), qualified, place.path())
          : new FilesArea(raw, guard, place.grant(), qualified, place.path());
    };
  }

  @Override
  public URI getUri() {
    return uri;
  }

  @Override
  public String getScheme() {
    return uri.getScheme();
  }

  @Override
  public FSDataInputStream open(Path file, int bufferBytes) throws IOException {
    return area(file).open(makeQualified(file), bufferBytes);
  }

  /** Parquet's reader says who it is when it opens a file, and no other reader does: a table opens to it alone. */
  @Override
  protected CompletableFuture<FSDataInputStream> openFileWithOptions(Path file, OpenFileParameters parameters)
      throws IOException {
    String policy = parameters.getOptions().get(READ_POLICY, "");
    if (policy.startsWith("parquet") && area(file) instanceof TableArea table) {
      return LambdaUtils.eval(new CompletableFuture<>(),
          () -> table.openParquet(makeQualified(file), parameters.getBufferSize()));
    }
    return super.openFileWithOptions(file, parameters);
  }

  @Override
  public FSDataOutputStream create(Path file, FsPermission permission, boolean overwrite, int bufferBytes,
      short replication, long blockBytes, Progressable progress) throws IOException {
    Area area = area(file);
    Path path = makeQualified(file);
    area.requireWrite(path);
    return area.create(path,
        () -> raw.create(path, permission, overwrite, bufferBytes, replication, blockBytes, progress));
  }

  @Override
  public FSDataOutputStream createNonRecursive(Path file, FsPermission permission, EnumSet<CreateFlag> flags,
      int bufferBytes, short replication, long blockBytes, Progressable progress) throws IOException {
    Path parent = makeQualified(file).getParent();
    area(file).requireWrite(makeQualified(file));
    if (parent != null && !raw.getFileStatus(parent).isDirectory()) {
      throw new FileAlreadyExistsException("not a folder: " + parent);
    }
    return create(file, permission, flags.contains(CreateFlag.OVERWRITE), bufferBytes, replication, blockBytes,
        progress);
  }

  @Override
  public FSDataOutputStream append(Path file, int bufferBytes, Progressable progress) throws IOException {
    Area area = area(file);
    area.requireWrite(makeQualified(file));
    if (area instanceof GrantedArea) {
      throw new UnsupportedOperationException("an encrypted file is written once, as a whole: " + file);
    }
    return raw.append(makeQualified(file), bufferBytes, progress);
  }

  @Override
  public boolean rename(Path from, Path to) throws IOException {
    Area source = area(from);
    Area target = area(to);
    source.requireWrite(makeQualified(from));
    target.requireWrite(makeQualified(to));
    if (grantOf(source) != grantOf(target)) {
      throw new ConfideException("NoGrant",
          "bytes do not move between locations by name; read and write them: " + from + " to " + to);
    }
    Path onto = intoFolder(makeQualified(from), makeQualified(to));
    synchronized (guard.written()) {
      boolean moved = raw.rename(makeQualified(from), onto);
      if (moved) {
        source.renamed(makeQualified(from), onto);
      }
      return moved;
    }
  }

  /** A rename onto an existing folder moves into it, as on HDFS. */
  private Path intoFolder(Path from, Path to) throws IOException {
    try {
      return raw.getFileStatus(to).isDirectory() ? new Path(to, from.getName()) : to;
    } catch (FileNotFoundException e) {
      return to;
    }
  }

  @Override
  public boolean delete(Path path, boolean recursive) throws IOException {
    Area area = area(path);
    Path qualified = makeQualified(path); // raw has a working directory of its own
    area.requireWrite(qualified);
    synchronized (guard.written()) {
      boolean deleted = raw.delete(qualified, recursive);
      if (deleted) {
        area.deleted(qualified);
      }
      return deleted;
    }
  }

  @Override
  public FileStatus[] listStatus(Path path) throws IOException {
    return area(path).list(makeQualified(path));
  }

  @Override
  public FileStatus getFileStatus(Path path) throws IOException {
    return area(path).status(makeQualified(path));
  }

  @Override
  public boolean mkdirs(Path path, FsPermission permission) throws IOException {
    area(path).requireWrite(makeQualified(path));
    return raw.mkdirs(makeQualified(path), permission);
  }

  @Override
  public void setPermission(Path path, FsPermission permission) throws IOException {
    area(path).requireWrite(makeQualified(path));
    raw.setPermission(makeQualified(path), permission);
  }

  @Override
  public void setTimes(Path path, long modified, long accessed) throws IOException {
    area(path).requireWrite(makeQualified(path));
    raw.setTimes(makeQualified(path), modified, accessed);
  }

  @Override
  public void setWorkingDirectory(Path path) {
    workingDirectory = makeQualified(path);
  }

  @Override
  public Path getWorkingDirectory() {
    return workingDirectory;
  }

  /** Where relative paths lead that come by Hadoop's second interface, as a stream's checkpoint does. */
  @Override
  protected Path getInitialWorkingDirectory() {
    return workingDirectory;
  }

  @Override
  public void close() throws IOException {
    try {
      super.close();
    } finally {
      raw.close();
    }
  }

  private static Grant grantOf(Area area) {
    return area instanceof GrantedArea ? ((GrantedArea) area).grant : null;
  }
}
