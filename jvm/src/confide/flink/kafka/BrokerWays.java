package confide.flink.kafka;

import com.fasterxml.jackson.databind.JsonNode;
import confide.LaunchRefused;
import confide.flink.Outside;
import java.io.IOException;
import java.io.InputStream;
import java.io.OutputStream;
import java.net.InetAddress;
import java.net.ServerSocket;
import java.net.Socket;
import java.util.List;
import java.util.Properties;
import java.util.Set;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.locks.LockSupport;

/**
 * Has a Kafka client, which knows sockets alone, reach the brokers that policies grant from a sandbox without a network:
 * each broker's name is that of a loopback address of this sandbox, at which bytes are passed on by the agent's socket.
 *
 * <p>What crosses is TLS, which the client ends itself, by the broker's name.
 */
public final class BrokerWays {
  private static final int BACKLOG = 128;
  private static final int CHUNK_BYTES = 64 * 1024;
  private static final long PAUSE_NS = 100_000_000;

  private static final Set<String> OPEN = ConcurrentHashMap.newKeySet();

  private final String host;
  private final int port;
  private volatile String told = "";

  private BrokerWays(String host, int port) {
    this.host = host;
    this.port = port;
  }

  /**
   * Opens the ways.
   *
   * @param brokers list of {@code host} and {@code port}, as the policy spells them, and {@code address}, the host's here
   */
  public static void open(JsonNode brokers) throws IOException {
    for (JsonNode broker : brokers) {
      int port = broker.path("port").asInt();
      ServerSocket server = new ServerSocket(port, BACKLOG, InetAddress.getByName(broker.path("address").asText()));
      BrokerWays ways = new BrokerWays(broker.path("host").asText(), port);
      ways.daemon(() -> ways.accept(server));
      OPEN.add(ways.host + ":" + port);
    }
  }

  /**
   * Asks a cluster which brokers it has, and refuses those that there is no way to: a client would try them without end. A
   * cluster that does not answer is no refusal: it may do so later.
   *
   * @param client settings of one
   */
  static void requireAll(Properties client) {
    if (OPEN.isEmpty()) {
      return; // this sandbox has a network
    }
    String servers = client.getProperty("bootstrap.servers");
    List<String> others = KafkaClient.brokers(client).stream().filter(each -> !OPEN.contains(each)).sorted().toList();
    if (!others.isEmpty()) {
      throw new LaunchRefused("the Kafka at " + servers + " has brokers that no policy grants, so that there is no way to "
          + "them: name them, too, in its locations and in 'properties.bootstrap.servers': " + String.join(",", others));
    }
  }

  private void accept(ServerSocket server) {
    while (true) {
      try {
        Socket near = server.accept();
        daemon(() -> pass(near));
      } catch (IOException e) {
        tell(e);
        LockSupport.parkNanos(PAUSE_NS);
      }
    }
  }

  private void pass(Socket near) {
    try (near; Socket far = Outside.connect(host, port)) {
      told = "";
      near.setTcpNoDelay(true);
      daemon(() -> copy(far, near));
      copy(near, far);
    } catch (IOException e) {
      tell(e);
    }
  }

  /** Says in the program's log what is the matter, once: a client tries again, several times a second. */
  private void tell(IOException error) {
    String text = String.valueOf(error.getMessage());
    if (!text.equals(told)) {
      told = text;
      System.err.println("confide: " + text);
    }
  }

  /** Passes bytes on until either end is done; then both are. */
  private static void copy(Socket from, Socket to) {
    byte[] chunk = new byte[CHUNK_BYTES];
    try (from; to) {
      InputStream in = from.getInputStream();
      OutputStream out = to.getOutputStream();
      for (int size; (size = in.read(chunk)) >= 0; ) {
        out.write(chunk, 0, size);
      }
    } catch (IOException e) {
      // an end went away
    }
  }

  private void daemon(Runnable task) {
    Thread thread = new Thread(task, "way to " + host + ":" + port);
    thread.setDaemon(true);
    thread.start();
  }
}
