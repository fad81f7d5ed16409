package confide;

import java.io.IOException;
import org.apache.hadoop.fs.FSDataInputStream;
import org.apache.hadoop.fs.FSDataOutputStream;
import org.apache.hadoop.fs.FileStatus;
import org.apache.hadoop.fs.FileSystem;
import org.apache.hadoop.fs.Path;

/** Scratch, and the program's own files: no encryption, as they never leave the enclave or are measured. */
final class PlainArea extends Area {
  private final boolean readOnly;

  PlainArea(FileSystem raw, boolean readOnly) {
    super(raw);
    this.readOnly = readOnly;
  }

  @Override
  FSDataInputStream open(Path file, int bufferBytes) throws IOException {
    return raw.open(file, bufferBytes);
  }

  @Override
  FSDataOutputStream create(Path file, Creator creator) throws IOException {
    return creator.create();
  }

  @Override
  FileStatus status(Path path) throws IOException {
    return raw.getFileStatus(path);
  }

  @Override
  FileStatus[] list(Path path) throws IOException {
    return raw.listStatus(path);
  }

  @Override
  void requireWrite(Path path) throws IOException {
    if (readOnly) {
      throw new ConfideException("NoGrant", path + " is part of the program: to read, not to write");
    }
  }
}
