package confide;

import java.io.IOException;
import java.io.OutputStream;
import java.util.ArrayDeque;
import org.apache.hadoop.fs.FSDataOutputStream;
import org.apache.hadoop.fs.Path;

/**
 * Writes a Parquet file and takes its binding from the bytes as they pass, not from storage afterwards.
 *
 * <p>Where the footer starts is only known at the end, so the last 64 MiB are kept. A file that does not begin
 * and end as an encrypted Parquet file is refused, whatever an engine was told to write.
 */
final class TableOutputStream extends OutputStream {
  /** Told when the file is complete. */
  interface Done {
    void closed(long size, String binding);
  }

  private static final int CHUNK_BYTES = 256 * 1024;

  private final FSDataOutputStream out;
  private final Path file;
  private final Done done;
  private final ArrayDeque<byte[]> chunks = new ArrayDeque<>();
  private byte[] chunk = new byte[CHUNK_BYTES];
  private int filled;
  private long size;
  private boolean closed;

  TableOutputStream(FSDataOutputStream out, Path file, Done done) {
    this.out = out;
    this.file = file;
    this.done = done;
  }

  @Override
  public void write(int b) throws IOException {
    write(new byte[] {(byte) b}, 0, 1);
  }

  @Override
  public void write(byte[] data, int offset, int length) throws IOException {
    checkHead(data, offset, length);
    out.write(data, offset, length);
    size += length;
    for (int at = offset; at < offset + length; ) {
      int count = Math.min(offset + length - at, CHUNK_BYTES - filled);
      System.arraycopy(data, at, chunk, filled, count);
      at += count;
      filled += count;
      if (filled == CHUNK_BYTES) {
        nextChunk();
      }
    }
  }

  @Override
  public void flush() throws IOException {
    out.flush();
  }

  @Override
  public void close() throws IOException {
    if (closed) {
      return;
    }
    closed = true;
    out.close();
    if (size < 12) {
      throw notEncrypted(); // an aborted write ends here too, and is not registered
    }
    long length = ParquetTail.length(tail(8), size, file);
    if (length > ParquetTail.MAX_WRITTEN_BYTES) {
      throw new ConfideException("Misuse", "a footer of " + length + " bytes is too large: " + file);
    }
    done.closed(size, Digests.hex(tail((int) length)));
  }

  private void checkHead(byte[] data, int offset, int length) throws IOException {
    for (int i = 0; i < length && size + i < ParquetTail.ENCRYPTED.length; i++) {
      if (data[offset + i] != ParquetTail.ENCRYPTED[(int) size + i]) {
        throw notEncrypted();
      }
    }
  }

  private void nextChunk() {
    chunks.addLast(chunk);
    boolean full = chunks.size() > ParquetTail.MAX_WRITTEN_BYTES / CHUNK_BYTES;
    chunk = full ? chunks.removeFirst() : new byte[CHUNK_BYTES];
    filled = 0;
  }

  private byte[] tail(int length) throws IOException {
    byte[] tail = new byte[length];
    int left = length - Math.min(filled, length);
    System.arraycopy(chunk, Math.max(0, filled - length), tail, left, Math.min(filled, length));
    for (var it = chunks.descendingIterator(); left > 0 && it.hasNext(); ) {
      byte[] part = it.next();
      int count = Math.min(left, part.length);
      System.arraycopy(part, part.length - count, tail, left - count, count);
      left -= count;
    }
    return tail;
  }

  private ConfideException notEncrypted() {
    return new ConfideException("NotEncrypted", "not an encrypted Parquet file: " + file);
  }
}
