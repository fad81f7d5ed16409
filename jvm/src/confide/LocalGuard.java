package confide;

import java.io.IOException;
import java.net.URI;
import java.util.concurrent.CompletableFuture;
import org.apache.hadoop.conf.Configuration;
import org.apache.hadoop.fs.FSDataInputStream;
import org.apache.hadoop.fs.FileSystem;
import org.apache.hadoop.fs.LocalFileSystem;
import org.apache.hadoop.fs.Path;
import org.apache.hadoop.fs.impl.OpenFileParameters;

/**
 * The guard of {@code file:}, as the type that Hadoop insists on there ({@code FileSystem.getLocal} casts).
 *
 * <p>All it does is forward: what it forwards to is the guard, so nothing passes beside it. Hadoop's checksum
 * files are left out, since every byte is authenticated anyway.
 */
public final class LocalGuard extends LocalFileSystem {
  /** The constructor that Hadoop looks for. */
  public LocalGuard() {
    super(new GuardFileSystem());
    setWriteChecksum(false);
    setVerifyChecksum(false);
  }

  /** The guard itself, whether or not it is wrapped. */
  static FileSystem unwrap(FileSystem fs) {
    return fs instanceof LocalGuard ? ((LocalGuard) fs).getRawFileSystem() : fs;
  }

  /**
   * Refuses unless the guard is what Hadoop has for {@code file:}. Where nothing is there yet, it then is: Hadoop keeps
   * the first that is asked for, whatever configuration anybody comes with later.
   *
   * @param conf which names the guard
   * @throws LaunchRefused when other code was first
   */
  public static void require(Configuration conf) throws IOException {
    FileSystem found = FileSystem.get(URI.create("file:///"), conf);
    if (!(unwrap(found) instanceof GuardFileSystem)) {
      throw new LaunchRefused("fs.file.impl: " + found.getClass().getName() + " was opened in place of the guard");
    }
  }

  @Override
  protected CompletableFuture<FSDataInputStream> openFileWithOptions(Path file, OpenFileParameters parameters)
      throws IOException {
    return ((GuardFileSystem) fs).openFileWithOptions(file, parameters);
  }

  @Override
  public boolean rename(Path from, Path to) throws IOException {
    return fs.rename(from, to);
  }

  @Override
  public boolean delete(Path path, boolean recursive) throws IOException {
    return fs.delete(path, recursive);
  }
}
