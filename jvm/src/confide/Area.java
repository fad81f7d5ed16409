package confide;

import java.io.FileNotFoundException;
import java.io.IOException;
import org.apache.hadoop.fs.FSDataInputStream;
import org.apache.hadoop.fs.FSDataOutputStream;
import org.apache.hadoop.fs.FileStatus;
import org.apache.hadoop.fs.FileSystem;
import org.apache.hadoop.fs.Path;

/** The rules of one kind of place, applied to a path in it. {@code raw} is the storage itself, unguarded. */
abstract class Area {
  /** How an engine asks for a new file. */
  interface Creator {
    FSDataOutputStream create() throws IOException;
  }

  final FileSystem raw;

  Area(FileSystem raw) {
    this.raw = raw;
  }

  abstract FSDataInputStream open(Path file, int bufferBytes) throws IOException;

  abstract FSDataOutputStream create(Path file, Creator creator) throws IOException;

  abstract FileStatus status(Path path) throws IOException;

  abstract FileStatus[] list(Path path) throws IOException;

  /** Returns if names in this area may be made, moved and deleted. */
  abstract void requireWrite(Path path) throws IOException;

  /** The path is gone. */
  void deleted(Path path) {}

  /** The path lies elsewhere in the same area now. */
  void renamed(Path from, Path to) {}

  static FileNotFoundException absent(Path path) {
    return new FileNotFoundException("File " + path + " does not exist");
  }

  static FileStatus folder(Path path) {
    return new FileStatus(0, true, 1, 0, 0, path);
  }
}
