package confide.flink.redis;

import java.io.Closeable;
import java.io.IOException;
import java.time.Duration;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.TimeUnit;

/** How long a peer may take: one that sends a byte now and then is never silent. */
final class Deadline {
  /** What is said over a connection, and what comes of it. */
  interface Exchange<T> {
    T run() throws IOException;
  }

  private Deadline() {}

  /**
   * Runs an exchange, and closes its connection once it takes too long.
   *
   * @param connection below TLS, whose own closing would wait for a write that is stuck
   */
  static <T> T keep(Duration most, Closeable connection, Exchange<T> exchange) throws IOException {
    CompletableFuture<Void> kept = new CompletableFuture<Void>().orTimeout(most.toMillis(), TimeUnit.MILLISECONDS);
    kept.exceptionally(late -> {
      try {
        connection.close();
      } catch (IOException e) {
        // it is closed already
      }
      return null;
    });
    try {
      return exchange.run();
    } catch (IOException e) {
      throw kept.isDone() ? new IOException("Redis took more than " + most.toSeconds() + " s to answer", e) : e;
    } finally {
      kept.complete(null);
    }
  }
}
