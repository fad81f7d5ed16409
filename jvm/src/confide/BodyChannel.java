package confide;

import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.channels.NonWritableChannelException;
import java.nio.channels.SeekableByteChannel;
import org.apache.hadoop.fs.FSDataInputStream;

/** The body of a sealed file as the channel that Tink wants: the stored bytes from {@code start} on. */
final class BodyChannel implements SeekableByteChannel {
  private final FSDataInputStream in;
  private final long start;
  private final long size;
  private long position;
  private boolean open = true;

  BodyChannel(FSDataInputStream in, long start, long end) {
    this.in = in;
    this.start = start;
    this.size = end - start;
  }

  @Override
  public int read(ByteBuffer target) throws IOException {
    if (!target.hasRemaining()) {
      return 0;
    }
    int wanted = (int) Math.min(target.remaining(), size - position);
    if (wanted <= 0) {
      return -1;
    }
    byte[] part = target.hasArray() ? target.array() : new byte[wanted];
    int offset = target.hasArray() ? target.arrayOffset() + target.position() : 0;
    if (in.getPos() != start + position) {
      in.seek(start + position);
    }
    int count = in.read(part, offset, wanted);
    if (count > 0) {
      if (target.hasArray()) {
        target.position(target.position() + count);
      } else {
        target.put(part, 0, count);
      }
      position += count;
    }
    return count;
  }

  @Override
  public long position() {
    return position;
  }

  @Override
  public SeekableByteChannel position(long to) {
    position = to;
    return this;
  }

  @Override
  public long size() {
    return size;
  }

  @Override
  public int write(ByteBuffer source) {
    throw new NonWritableChannelException();
  }

  @Override
  public SeekableByteChannel truncate(long length) {
    throw new NonWritableChannelException();
  }

  @Override
  public boolean isOpen() {
    return open;
  }

  @Override
  public void close() throws IOException {
    open = false;
    in.close();
  }
}
