package confide;

import java.io.IOException;
import java.io.OutputStream;
import java.security.GeneralSecurityException;
import org.apache.hadoop.fs.FSDataOutputStream;
import org.apache.hadoop.fs.Syncable;

/**
 * Seals what is written to it.
 *
 * <p>A segment cannot be sealed twice, so there is nothing to flush before it is full: flush and sync do
 * nothing, and a file is whole when it is closed.
 */
final class SealedOutputStream extends OutputStream implements Syncable {
  /** Told the stored size when the file is complete. */
  interface Done {
    void closed(long size);
  }

  private final FSDataOutputStream stored;
  private final OutputStream plain;
  private final Done done;
  private boolean closed;

  SealedOutputStream(FSDataOutputStream stored, SealedHeader header, byte[] dataKey, Done done)
      throws IOException {
    this.stored = stored;
    this.done = done;
    stored.write(header.bytes);
    stored.flush();
    try {
      plain = SealedHeader.stream(dataKey).newEncryptingStream(stored, header.bytes);
    } catch (GeneralSecurityException e) {
      throw new IllegalStateException("Tink failed to encrypt", e);
    }
  }

  @Override
  public void write(int b) throws IOException {
    plain.write(b);
  }

  @Override
  public void write(byte[] data, int offset, int length) throws IOException {
    plain.write(data, offset, length);
  }

  @Override
  public void flush() {}

  @Override
  public void hflush() {}

  @Override
  public void hsync() {}

  @Override
  public void close() throws IOException {
    if (!closed) {
      closed = true;
      plain.close();
      done.closed(stored.getPos());
    }
  }
}
