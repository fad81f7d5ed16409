package confide.flink;

import confide.CommittingFileSystem;
import confide.ListedFile;
import java.io.IOException;
import java.util.ArrayList;
import java.util.List;
import java.util.UUID;
import org.apache.flink.core.fs.RecoverableFsDataOutputStream;
import org.apache.flink.core.fs.RecoverableWriter;
import org.apache.hadoop.fs.FSDataOutputStream;
import org.apache.hadoop.fs.Path;

/** Writes a file part by part; a part ends where a checkpoint needs what was written so far. */
final class SealedPartStream extends RecoverableFsDataOutputStream {
  private final CommittingFileSystem fs;
  private final String target;
  private final List<ListedFile> parts;
  private long plainBytes;
  private Path path;
  private FSDataOutputStream part;

  SealedPartStream(CommittingFileSystem fs, Parts before) {
    this.fs = fs;
    this.target = before.target();
    this.parts = new ArrayList<>(before.parts());
    this.plainBytes = before.plainBytes();
  }

  /** A new path beside the file to be, hidden until the file is whole. */
  static Path beside(String target) {
    Path file = new Path(target);
    return new Path(file.getParent(), "." + file.getName() + ".inprogress." + UUID.randomUUID());
  }

  @Override
  public void write(int b) throws IOException {
    part().write(b);
    plainBytes++;
  }

  @Override
  public void write(byte[] data, int offset, int length) throws IOException {
    part().write(data, offset, length);
    plainBytes += length;
  }

  private FSDataOutputStream part() throws IOException {
    if (part == null) {
      path = beside(target);
      part = fs.create(path, false);
    }
    return part;
  }

  @Override
  public long getPos() {
    return plainBytes;
  }

  @Override
  public void flush() {}

  @Override
  public void sync() {}

  @Override
  public RecoverableWriter.ResumeRecoverable persist() throws IOException {
    endPart();
    return new Parts(target, List.copyOf(parts), plainBytes);
  }

  @Override
  public Committer closeForCommit() throws IOException {
    if (parts.isEmpty()) {
      part(); // an empty file is a file
    }
    endPart();
    return new PartsCommitter(fs, new Parts(target, List.copyOf(parts), plainBytes));
  }

  private void endPart() throws IOException {
    if (part != null) {
      part.close();
      part = null;
      ListedFile written = fs.written(path);
      String where = path.toString();
      parts.add(written == null ? new ListedFile(where, 0, "")
          : new ListedFile(where, written.size(), written.binding()));
    }
  }

  @Override
  public void close() throws IOException {
    if (part != null) {
      part.close();
      part = null;
      fs.delete(path, false);
    }
  }
}
