package confide.flink.redis;

import confide.ConfideException;
import java.io.BufferedInputStream;
import java.io.BufferedOutputStream;
import java.io.Closeable;
import java.io.EOFException;
import java.io.IOException;
import java.io.InputStream;
import java.io.OutputStream;
import java.net.Socket;
import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;

/**
 * A connection that speaks Redis's protocol (RESP 2): one command, one reply.
 *
 * <p>The server is trusted with nothing, so what it may send is bounded, and how long that may take.
 */
final class Redis implements Closeable {
  private static final int BUFFER_BYTES = 64 * 1024;
  private static final int MAX_LINE_BYTES = 4096;
  private static final int MAX_ITEMS = 4096;
  private static final int MAX_DEPTH = 5; // XREAD: streams, a stream, its entries, an entry, its fields
  private static final long MAX_REPLY_BYTES = 80L * 1024 * 1024;
  private static final int OBJECT_BYTES = 64; // of memory, however few on the wire
  private static final int MAX_TEXT_BYTES = 320 * 1024; // a record of 256 KiB, sealed

  /** The server says that a command failed. */
  static final class Failed extends IOException {
    Failed(String said) {
      super("Redis says: " + said);
      this.said = said;
    }

    final String said;
  }

  private final Closeable below;
  private final Duration most;
  private final InputStream in;
  private final OutputStream out;
  private long left;

  /**
   * @param socket the connection, by TLS
   * @param below the one that TLS crosses
   * @param most how long a call may take
   */
  Redis(Socket socket, Closeable below, Duration most) throws IOException {
    this.below = below;
    this.most = most;
    this.in = new BufferedInputStream(socket.getInputStream(), BUFFER_BYTES);
    this.out = new BufferedOutputStream(socket.getOutputStream(), BUFFER_BYTES);
  }

  /**
   * Sends a command and returns its reply: {@code byte[]}, {@code Long}, {@code String} (a status), {@code List} or null.
   *
   * @param command of text or {@code byte[]}
   */
  Object call(Object... command) throws IOException {
    return Deadline.keep(most, below, () -> {
      send(command);
      left = MAX_REPLY_BYTES;
      return reply(0);
    });
  }

  private void send(Object... command) throws IOException {
    out.write(("*" + command.length + "\r\n").getBytes(StandardCharsets.US_ASCII));
    for (Object each : command) {
      byte[] bytes = each instanceof byte[] given ? given : each.toString().getBytes(StandardCharsets.UTF_8);
      out.write(("$" + bytes.length + "\r\n").getBytes(StandardCharsets.US_ASCII));
      out.write(bytes);
      out.write('\r');
      out.write('\n');
    }
    out.flush();
  }

  private Object reply(int depth) throws IOException {
    if ((left -= OBJECT_BYTES) < 0) {
      throw unexpected();
    }
    String line = line();
    String rest = line.isEmpty() ? "" : line.substring(1);
    switch (line.isEmpty() ? 0 : line.charAt(0)) {
      case '+':
        return rest;
      case '-':
        throw new Failed(rest);
      case ':':
        return number(rest);
      case '$':
        return bulk(number(rest));
      case '*':
        long items = number(rest);
        if (items > MAX_ITEMS || depth == MAX_DEPTH) {
          throw unexpected();
        }
        List<Object> list = new ArrayList<>();
        for (long i = 0; i < items; i++) {
          list.add(reply(depth + 1));
        }
        return items < 0 ? null : list;
      default:
        throw unexpected();
    }
  }

  private byte[] bulk(long size) throws IOException {
    if (size < 0) {
      return null;
    }
    if (size > MAX_TEXT_BYTES || (left -= size) < 0) {
      throw unexpected();
    }
    byte[] bytes = in.readNBytes((int) size);
    if (bytes.length < size) {
      throw new EOFException("Redis closed the connection");
    }
    if (!line().isEmpty()) {
      throw unexpected();
    }
    return bytes;
  }

  private String line() throws IOException {
    StringBuilder line = new StringBuilder();
    int next;
    while ((next = in.read()) != '\r') {
      if (next < 0) {
        throw new EOFException("Redis closed the connection");
      }
      if (line.append((char) next).length() > MAX_LINE_BYTES || (left -= 1) < 0) {
        throw unexpected();
      }
    }
    if (in.read() != '\n') {
      throw unexpected();
    }
    return line.toString();
  }

  private static long number(String text) throws IOException {
    try {
      return Long.parseLong(text);
    } catch (NumberFormatException e) {
      throw unexpected();
    }
  }

  private static ConfideException unexpected() {
    return new ConfideException("InvalidFormat", "the server does not speak Redis's protocol, or says too much at once");
  }

  @Override
  public void close() throws IOException {
    below.close();
  }
}
