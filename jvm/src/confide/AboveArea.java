package confide;

import java.io.IOException;
import org.apache.hadoop.fs.FSDataInputStream;
import org.apache.hadoop.fs.FSDataOutputStream;
import org.apache.hadoop.fs.FileStatus;
import org.apache.hadoop.fs.FileSystem;
import org.apache.hadoop.fs.Path;

/** A folder above a granted location: engines ask whether it exists; what else it holds is not theirs. */
final class AboveArea extends Area {
  AboveArea(FileSystem raw) {
    super(raw);
  }

  @Override
  FSDataInputStream open(Path file, int bufferBytes) throws IOException {
    throw refused(file);
  }

  @Override
  FSDataOutputStream create(Path file, Creator creator) throws IOException {
    throw refused(file);
  }

  @Override
  FileStatus status(Path path) {
    return folder(path);
  }

  @Override
  FileStatus[] list(Path path) throws IOException {
    throw refused(path);
  }

  @Override
  void requireWrite(Path path) throws IOException {
    throw refused(path);
  }

  private static ConfideException refused(Path path) {
    return new ConfideException("NoGrant", "no grant for " + path);
  }
}
