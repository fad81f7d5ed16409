package confide;

import java.io.EOFException;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.channels.SeekableByteChannel;
import java.security.GeneralSecurityException;
import org.apache.hadoop.fs.FSDataInputStream;
import org.apache.hadoop.fs.FSInputStream;
import org.apache.hadoop.fs.Path;

/**
 * The plain content of a sealed file, from any position; only bytes of verified segments ever come out.
 *
 * <p>The last segment is verified first: then the file has not been cut, and its length is true.
 */
final class SealedInputStream extends FSInputStream {
  private final SeekableByteChannel channel;
  private final long length;
  private final Path path;
  private long position;

  SealedInputStream(FSDataInputStream in, SealedHeader header, byte[] dataKey, long size, Path path)
      throws IOException {
    this.path = path;
    this.length = header.plainLength(size, path);
    try {
      channel = SealedHeader.stream(dataKey)
          .newSeekableDecryptingChannel(new BodyChannel(in, header.bytes.length, size), header.bytes);
      channel.position(Math.max(0, length - 1));
      if (channel.read(ByteBuffer.allocate(1)) < 1 && length > 0) {
        throw new ConfideException("FileChanged", "cut off: " + path);
      }
    } catch (ConfideException e) {
      throw e;
    } catch (GeneralSecurityException | IOException | IllegalStateException e) {
      throw changed(e);
    }
  }

  @Override
  public synchronized int read(byte[] buffer, int offset, int count) throws IOException {
    if (count == 0) {
      return 0;
    }
    try {
      if (position >= length) {
        return -1;
      }
      channel.position(position);
      int done = channel.read(ByteBuffer.wrap(buffer, offset, (int) Math.min(count, length - position)));
      if (done <= 0) {
        throw new ConfideException("FileChanged", "cut off: " + path);
      }
      position += done;
      return done;
    } catch (ConfideException e) {
      throw e;
    } catch (IOException | IllegalStateException e) {
      throw changed(e);
    }
  }

  @Override
  public synchronized int read() throws IOException {
    byte[] one = new byte[1];
    return read(one, 0, 1) < 0 ? -1 : one[0] & 0xFF;
  }

  @Override
  public synchronized void seek(long to) throws IOException {
    if (to < 0 || to > length) {
      throw new EOFException("cannot seek to " + to + " of " + length);
    }
    position = to;
  }

  @Override
  public synchronized long getPos() {
    return position;
  }

  @Override
  public boolean seekToNewSource(long target) {
    return false;
  }

  @Override
  public synchronized int available() {
    return (int) Math.min(Integer.MAX_VALUE, length - position);
  }

  @Override
  public void close() throws IOException {
    channel.close();
  }

  private ConfideException changed(Exception cause) {
    return new ConfideException("FileChanged", "does not authenticate: " + path, cause);
  }
}
