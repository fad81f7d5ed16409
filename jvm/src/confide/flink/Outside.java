package confide.flink;

import java.io.IOException;
import java.io.InputStream;
import java.io.OutputStream;
import java.net.InetSocketAddress;
import java.net.Socket;
import java.net.UnixDomainSocketAddress;
import java.nio.ByteBuffer;
import java.nio.channels.SocketChannel;
import java.nio.charset.StandardCharsets;

/**
 * A connection to an address outside, before TLS: by the agent's socket where this process has no network of its own.
 *
 * <p>What crosses it is TLS. The agent ends a connection that is silent for long ({@code confide.enclave.outside}); who
 * uses it ends one that is not.
 */
public final class Outside extends Socket {
  private static final int TIMEOUT_MS = 60_000;
  private static final int MAX_LINE_BYTES = 4096;

  private final SocketChannel channel;

  private Outside(SocketChannel channel) {
    this.channel = channel;
  }

  /** Connects; {@code host} and {@code port} as the location of a granted stream spells them. */
  public static Socket connect(String host, int port) throws IOException {
    String path = System.getenv("CONFIDE_OUTSIDE");
    if (path == null) {
      Socket socket = new Socket();
      socket.setSoTimeout(TIMEOUT_MS);
      socket.connect(new InetSocketAddress(host, port), TIMEOUT_MS);
      return socket;
    }
    Outside socket = new Outside(SocketChannel.open(UnixDomainSocketAddress.of(path)));
    try {
      socket.getOutputStream().write((host + ":" + port + "\n").getBytes(StandardCharsets.US_ASCII));
      String answer = line(socket.getInputStream());
      if (!answer.equals("{}")) {
        throw new IOException("no way to " + host + ":" + port + ": " + answer);
      }
      return socket;
    } catch (IOException e) {
      socket.close();
      throw e;
    }
  }

  private static String line(InputStream in) throws IOException {
    StringBuilder line = new StringBuilder();
    int next;
    while ((next = in.read()) >= 0 && next != '\n' && line.length() < MAX_LINE_BYTES) {
      line.append((char) next);
    }
    return line.toString();
  }

  @Override
  public InputStream getInputStream() {
    return new InputStream() {
      @Override
      public int read() throws IOException {
        byte[] one = new byte[1];
        return read(one, 0, 1) < 0 ? -1 : one[0] & 0xFF;
      }

      @Override
      public int read(byte[] buffer, int offset, int count) throws IOException {
        return channel.read(ByteBuffer.wrap(buffer, offset, count));
      }
    };
  }

  @Override
  public OutputStream getOutputStream() {
    return new OutputStream() {
      @Override
      public void write(int b) throws IOException {
        write(new byte[] {(byte) b}, 0, 1);
      }

      @Override
      public void write(byte[] buffer, int offset, int count) throws IOException {
        ByteBuffer rest = ByteBuffer.wrap(buffer, offset, count);
        while (rest.hasRemaining()) {
          channel.write(rest);
        }
      }
    };
  }

  @Override
  public boolean isConnected() {
    return true;
  }

  @Override
  public boolean isClosed() {
    return !channel.isOpen();
  }

  @Override
  public void setTcpNoDelay(boolean on) {}

  @Override
  public void setSoTimeout(int milliseconds) {} // a channel has none; a deadline closes it

  @Override
  public void close() throws IOException {
    channel.close();
  }
}
