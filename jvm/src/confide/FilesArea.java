package confide;

import java.io.IOException;
import org.apache.hadoop.fs.FSDataInputStream;
import org.apache.hadoop.fs.FSDataOutputStream;
import org.apache.hadoop.fs.FileStatus;
import org.apache.hadoop.fs.FileSystem;
import org.apache.hadoop.fs.Path;

/**
 * A folder of sealed files: engines see plain files of plain length, storage sees sealed ones.
 *
 * <p>A location that nobody ever committed has no listing; who may write there reads what is there if it was
 * sealed for this location, and what this process wrote itself only as it wrote it.
 */
final class FilesArea extends GrantedArea {
  /** Size of a file that this process is still writing. */
  private static final long UNFINISHED = -1;

  FilesArea(FileSystem raw, Guard guard, Grant grant, Path path, String relative) {
    super(raw, guard, grant, path, relative);
  }

  @Override
  FSDataInputStream open(Path file, int bufferBytes) throws IOException {
    String name = relative(file);
    requireVisible(name, file);
    ListedFile expected = expected(name);
    if (expected == null && grant.listing() == null && !Names.isHidden(name)) {
      guard.followFirstCommit(grant); // another process may have made it
      expected = expected(name);
    }
    if (expected == null) {
      requireKnown(name, file);
    }
    long size = stored(file, expected == null ? new ListedFile(name, 0, "") : expected).getLen();
    FSDataInputStream in = raw.open(file, bufferBytes);
    try {
      SealedHeader header = header(in, file, expected, size);
      header.requireBody(in, file);
      byte[] dataKey = header.dataKey(guard.keys());
      return new FSDataInputStream(new SealedInputStream(in, header, dataKey, size, file));
    } catch (IOException | RuntimeException e) {
      in.close();
      throw e;
    }
  }

  @Override
  FSDataOutputStream create(Path file, Creator creator) throws IOException {
    String name = relative(file);
    byte[] dataKey = new byte[32];
    SealedHeader header = SealedHeader.create(guard.keys(), grant.key, grant.tableId(), dataKey);
    FSDataOutputStream stored = creator.create();
    guard.written().put(grant, name, UNFINISHED, header.binding());
    return new FSDataOutputStream(
        new SealedOutputStream(stored, header, dataKey,
            size -> guard.written().put(grant, name, size, header.binding())),
        null);
  }

  @Override
  FileStatus checked(FileStatus stored, ListedFile expected) throws IOException {
    if (expected.size() == UNFINISHED) {
      return withLength(stored, 0);
    }
    return plain(stored, expected);
  }

  @Override
  FileStatus unlisted(FileStatus stored, String path) throws IOException {
    requireKnown(path, stored.getPath());
    return stored.isDirectory() ? stored : plain(stored, null);
  }

  private void requireKnown(String name, Path path) throws ConfideException {
    if (!grant.write) {
      requireListed(path);
    }
    if (!Names.isHidden(name) && grant.listing() != null) {
      throw new ConfideException("FileUnlisted", "not in the listing: " + path);
    }
  }

  private FileStatus plain(FileStatus stored, ListedFile expected) throws IOException {
    try (FSDataInputStream in = raw.open(stored.getPath(), 512)) {
      SealedHeader header = header(in, stored.getPath(), expected, stored.getLen());
      return withLength(stored, header.plainLength(stored.getLen(), stored.getPath()));
    }
  }

  private SealedHeader header(FSDataInputStream in, Path path, ListedFile expected, long size)
      throws IOException {
    SealedHeader header = SealedHeader.read(in, path);
    if (expected == null) {
      if (!Digests.same(header.folder, grant.tableId())) {
        throw new ConfideException("FileChanged", "sealed for another folder: " + path);
      }
    } else if (!Digests.same(header.binding(), expected.binding())) {
      throw new ConfideException("FileChanged", "another file than the one written: " + path);
    } else if (expected.size() != UNFINISHED && expected.size() != size) {
      throw new ConfideException("FileChanged",
          path + " has " + size + " bytes, and was written with " + expected.size());
    }
    return header;
  }

  private static FileStatus withLength(FileStatus stored, long length) {
    return new FileStatus(length, false, stored.getReplication(), stored.getBlockSize(),
        stored.getModificationTime(), stored.getPath());
  }
}
