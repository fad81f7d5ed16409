package confide;

import java.io.IOException;
import java.net.URI;
import org.apache.hadoop.conf.Configuration;
import org.apache.hadoop.fs.FSDataInputStream;
import org.apache.hadoop.fs.FSDataOutputStream;
import org.apache.hadoop.fs.FileStatus;
import org.apache.hadoop.fs.FileSystem;
import org.apache.hadoop.fs.Path;
import org.apache.hadoop.fs.permission.FsPermission;
import org.apache.hadoop.util.Progressable;

/**
 * {@code sealed:///work/x} is {@code /work/x} of the default file system, which must be granted as sealed files.
 *
 * <p>For the places where an engine treats {@code file:} specially and writes past its file systems (Spark's
 * event log does): it knows no other way to this scheme than this class.
 */
public final class SealedFileSystem extends FileSystem {
  private static final URI ROOT = URI.create("sealed:///");

  private FileSystem base;

  @Override
  public void initialize(URI name, Configuration conf) throws IOException {
    super.initialize(name, conf);
    base = LocalGuard.unwrap(FileSystem.get(conf));
  }

  Path under(Path path) {
    return base.makeQualified(new Path(makeQualified(path).toUri().getPath()));
  }

  private Path sealed(Path path) throws IOException {
    Path under = under(path);
    Area area = base instanceof GuardFileSystem ? ((GuardFileSystem) base).area(under) : null;
    if (!(area instanceof FilesArea) && !(area instanceof AboveArea)) {
      throw new ConfideException("NoGrant", "not granted as sealed files: " + path);
    }
    return under;
  }

  private FileStatus named(FileStatus status) throws IOException {
    status.setPath(makeQualified(new Path(status.getPath().toUri().getPath())));
    return status;
  }

  @Override
  public URI getUri() {
    return ROOT;
  }

  @Override
  public String getScheme() {
    return "sealed";
  }

  @Override
  public FSDataInputStream open(Path file, int bufferBytes) throws IOException {
    return base.open(sealed(file), bufferBytes);
  }

  @Override
  public FSDataOutputStream create(Path file, FsPermission permission, boolean overwrite, int bufferBytes,
      short replication, long blockBytes, Progressable progress) throws IOException {
    return base.create(sealed(file), permission, overwrite, bufferBytes, replication, blockBytes, progress);
  }

  @Override
  public FSDataOutputStream append(Path file, int bufferBytes, Progressable progress) throws IOException {
    return base.append(sealed(file), bufferBytes, progress);
  }

  @Override
  public boolean rename(Path from, Path to) throws IOException {
    return base.rename(sealed(from), sealed(to));
  }

  @Override
  public boolean delete(Path path, boolean recursive) throws IOException {
    return base.delete(sealed(path), recursive);
  }

  @Override
  public FileStatus[] listStatus(Path path) throws IOException {
    FileStatus[] found = base.listStatus(sealed(path));
    for (FileStatus status : found) {
      named(status);
    }
    return found;
  }

  @Override
  public FileStatus getFileStatus(Path path) throws IOException {
    return named(base.getFileStatus(sealed(path)));
  }

  @Override
  public boolean mkdirs(Path path, FsPermission permission) throws IOException {
    return base.mkdirs(sealed(path), permission);
  }

  @Override
  public void setPermission(Path path, FsPermission permission) throws IOException {
    base.setPermission(sealed(path), permission);
  }

  @Override
  public void setTimes(Path path, long modified, long accessed) throws IOException {
    base.setTimes(sealed(path), modified, accessed);
  }

  @Override
  public void setWorkingDirectory(Path path) {
    base.setWorkingDirectory(under(path));
  }

  @Override
  public Path getWorkingDirectory() {
    return new Path(ROOT.getScheme(), "", base == null ? "/" : base.getWorkingDirectory().toUri().getPath());
  }
}
