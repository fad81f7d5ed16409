package confide;

import java.io.File;
import java.io.IOException;
import java.net.URI;
import org.apache.hadoop.conf.Configuration;
import org.apache.hadoop.fs.Path;

/**
 * Storage of a scheme of its own, which the host has at a folder of the data root: {@code s3a://bucket/x} is
 * {@code s3a/bucket/x} there.
 *
 * <p>So the host speaks with the store, with its own credentials, and the guard takes what it shows for what it is: the
 * word of somebody who is not trusted.
 */
final class FolderStorage extends LocalStorage {
  private final URI uri;
  private final File folder;

  /**
   * @param uri scheme and authority
   * @param mount where the data root lies in this process
   */
  FolderStorage(URI uri, String mount) {
    super(mount, mount);
    this.uri = URI.create(uri.getScheme() + "://" + uri.getAuthority());
    folder = new File(mount, uri.getScheme() + "/" + uri.getAuthority());
  }

  @Override
  public void initialize(URI name, Configuration conf) throws IOException {
    super.initialize(name, conf);
    setWorkingDirectory(new Path(uri + "/"));
  }

  /** Asked for when there is no URI yet to qualify one with. */
  @Override
  protected Path getInitialWorkingDirectory() {
    return null;
  }

  @Override
  public URI getUri() {
    return uri;
  }

  @Override
  public File pathToFile(Path path) {
    checkPath(path);
    return new File(folder, path.toUri().getPath());
  }

  /** Refuses where the host has no such storage: what is written would else lie in a folder that nobody meant. */
  void requireMounted() throws ConfideException {
    if (!folder.isDirectory()) {
      throw new ConfideException("StorageUnavailable",
          "the data root has no folder " + uri.getScheme() + "/" + uri.getAuthority() + ", where " + uri + " is to be");
    }
  }
}
