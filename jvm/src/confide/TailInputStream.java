package confide;

import java.io.EOFException;
import java.io.IOException;
import org.apache.hadoop.fs.FSDataInputStream;
import org.apache.hadoop.fs.FSInputStream;

/**
 * A Parquet file whose tail was verified: that comes from memory, so that storage cannot show one tail to
 * the check and another to the reader.
 */
class TailInputStream extends FSInputStream {
  final FSDataInputStream in;
  final long tailStart;
  private final byte[] tail;
  private final long size;
  private long position;

  TailInputStream(FSDataInputStream in, long size, byte[] tail) {
    this.in = in;
    this.size = size;
    this.tail = tail;
    this.tailStart = size - tail.length;
  }

  @Override
  public int read(long at, byte[] buffer, int offset, int length) throws IOException {
    if (length == 0) {
      return 0;
    }
    if (at >= size) {
      return -1;
    }
    if (at >= tailStart) {
      int count = (int) Math.min(length, size - at);
      System.arraycopy(tail, (int) (at - tailStart), buffer, offset, count);
      return count;
    }
    return in.read(at, buffer, offset, (int) Math.min(length, tailStart - at));
  }

  @Override
  public int read(byte[] buffer, int offset, int length) throws IOException {
    int count;
    if (position >= tailStart || length == 0) {
      count = read(position, buffer, offset, length);
    } else {
      if (in.getPos() != position) {
        in.seek(position);
      }
      count = in.read(buffer, offset, (int) Math.min(length, tailStart - position));
    }
    position += Math.max(count, 0);
    return count;
  }

  @Override
  public int read() throws IOException {
    byte[] one = new byte[1];
    return read(one, 0, 1) < 0 ? -1 : one[0] & 0xFF;
  }

  @Override
  public void seek(long to) throws IOException {
    if (to < 0 || to > size) {
      throw new EOFException("cannot seek to " + to + " of " + size);
    }
    position = to;
  }

  @Override
  public long getPos() {
    return position;
  }

  @Override
  public boolean seekToNewSource(long target) {
    return false;
  }

  @Override
  public int available() {
    return (int) Math.min(Integer.MAX_VALUE, size - position);
  }

  @Override
  public void close() throws IOException {
    in.close();
  }
}
