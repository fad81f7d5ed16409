package confide;

import java.io.IOException;
import java.io.OutputStream;
import org.apache.hadoop.fs.Path;

/** A marker file such as {@code _SUCCESS}: its name may exist, bytes in it may not. */
final class EmptyOutputStream extends OutputStream {
  private final OutputStream out;
  private final Path file;

  EmptyOutputStream(OutputStream out, Path file) {
    this.out = out;
    this.file = file;
  }

  @Override
  public void write(int b) throws IOException {
    throw new ConfideException("NotEncrypted", "not an encrypted Parquet file: " + file);
  }

  @Override
  public void close() throws IOException {
    out.close();
  }
}
