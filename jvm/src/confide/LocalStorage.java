package confide;

import java.io.File;
import java.io.FileNotFoundException;
import java.io.IOException;
import java.nio.file.AtomicMoveNotSupportedException;
import java.nio.file.DirectoryStream;
import java.nio.file.FileSystemException;
import java.nio.file.Files;
import java.nio.file.NoSuchFileException;
import java.nio.file.StandardCopyOption;
import java.nio.file.attribute.PosixFilePermissions;
import org.apache.hadoop.fs.FileStatus;
import org.apache.hadoop.fs.Path;
import org.apache.hadoop.fs.RawLocalFileSystem;
import org.apache.hadoop.fs.permission.FsPermission;

/**
 * Local storage without what Hadoop's own does on the side: it starts no {@code chmod} or {@code ls}, which an
 * image need not hold, and a rename never becomes a copy.
 *
 * <p>The last matters: a link laid among the files could lead a rename's source into scratch; a copy would then
 * carry plain bytes out, whereas a rename does not leave a mount.
 */
class LocalStorage extends RawLocalFileSystem {
  private static final boolean IN_LIBRARY_OS = System.getenv("CONFIDE_LIBOS") != null;

  private final String root;
  private final String mount;

  /**
   * @param root the data root in paths
   * @param mount where the data root lies in this process; the same, unless the engine runs code of a program in
   *     its own process, which would else find storage at the path that it knows
   */
  LocalStorage(String root, String mount) {
    this.root = root;
    this.mount = mount;
  }

  @Override
  public File pathToFile(Path path) {
    File file = super.pathToFile(path);
    String text = file.getPath();
    return Names.isWithin(text, root) ? new File(mount + text.substring(root.length())) : file;
  }

  @Override
  public boolean rename(Path from, Path to) throws IOException {
    try {
      Files.move(pathToFile(from).toPath(), pathToFile(to).toPath(), StandardCopyOption.ATOMIC_MOVE);
      return true;
    } catch (NoSuchFileException e) {
      if (Files.exists(pathToFile(from).toPath())) {
        return false;
      }
      throw new FileNotFoundException(from + " (No such file or directory)");
    } catch (AtomicMoveNotSupportedException e) {
      throw new ConfideException("Misuse", "not on the same storage: " + from + " and " + to);
    } catch (FileSystemException e) {
      java.nio.file.Path folder = pathToFile(from).toPath();
      if (!IN_LIBRARY_OS || !Files.isDirectory(folder)) {
        throw e;
      }
      moveFolder(folder, pathToFile(to).toPath());
      return true;
    }
  }

  /**
   * Moves a folder's files one by one, for library OSes that rename files only. A half moved folder is no commit: the
   * listing is.
   */
  private static void moveFolder(java.nio.file.Path from, java.nio.file.Path to) throws IOException {
    Files.createDirectories(to);
    try (DirectoryStream<java.nio.file.Path> entries = Files.newDirectoryStream(from)) {
      for (java.nio.file.Path entry : entries) {
        java.nio.file.Path target = to.resolve(entry.getFileName());
        if (Files.isDirectory(entry)) {
          moveFolder(entry, target);
        } else {
          Files.move(entry, target, StandardCopyOption.ATOMIC_MOVE);
        }
      }
    }
    Files.delete(from);
  }

  @Override
  public void setPermission(Path path, FsPermission permission) throws IOException {
    String bits = permission.getUserAction().SYMBOL + permission.getGroupAction().SYMBOL
        + permission.getOtherAction().SYMBOL;
    Files.setPosixFilePermissions(pathToFile(path).toPath(), PosixFilePermissions.fromString(bits));
  }

  @Override
  public FileStatus getFileStatus(Path path) throws IOException {
    FileStatus found = super.getFileStatus(path);
    return new FileStatus(found.getLen(), found.isDirectory(), 1, found.getBlockSize(),
        found.getModificationTime(), makeQualified(path));
  }

  /** Refuses a path with a symbolic link in its part below the data root: it would lead somewhere else. */
  final void requireNoLinks(Path path) throws ConfideException {
    File part = pathToFile(path);
    for (; Names.isWithin(part.getPath(), mount) && !part.getPath().equals(mount); part = part.getParentFile()) {
      if (Files.isSymbolicLink(part.toPath())) {
        throw new ConfideException("FileChanged", "a symbolic link in place of a file or folder: " + path);
      }
    }
  }
}
