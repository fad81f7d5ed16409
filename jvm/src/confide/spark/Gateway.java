package confide.spark;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import java.io.IOException;
import java.net.StandardProtocolFamily;
import java.net.UnixDomainSocketAddress;
import java.nio.channels.Channels;
import java.nio.channels.SocketChannel;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Map;

/**
 * The JVM of a confined Spark driver.
 *
 * <p>What {@code spark-submit pyspark-shell} does for PySpark, with three differences: the gateway speaks mutual
 * TLS, its secrets and the hardened settings come from the agent's socket (so never from an argument, the
 * environment or a file), and no shell is involved. Ends when its standard input does.
 */
public final class Gateway {
  private Gateway() {}

  /**
   * @param args one file (a pipe's {@code /proc/self/fd/N}) that receives the gateway's port and a newline.
   */
  public static void main(String[] args) throws Exception {
    JsonNode secret = secret(System.getenv("CONFIDE_AGENT"), "gateway");
    Hardening.install(secret.path("settings"));
    for (Map.Entry<String, JsonNode> property : secret.path("properties").properties()) {
      System.setProperty(property.getKey(), property.getValue().asText());
    }
    TlsGatewayServer server =
        TlsGatewayServer.create(new MutualTls(secret.path("tls")), secret.path("token").asText());
    server.start();
    Files.writeString(Path.of(args[0]), server.getListeningPort() + "\n");
    warmUp();
    while (System.in.read() != -1) {
      // Nothing is ever sent: the end of the stream says that the driver is gone.
    }
    System.exit(0);
  }

  /** Loads what every session needs while Python is still importing; only time depends on it. */
  private static void warmUp() {
    Thread thread =
        new Thread(
            () -> {
              for (String name : WARM) {
                try {
                  Class.forName(name);
                } catch (ReflectiveOperationException | LinkageError e) {
                  return;
                }
              }
            },
            "confide-warm-up");
    thread.setDaemon(true);
    thread.start();
  }

  private static final String[] WARM = {
    "org.apache.spark.SparkContext",
    "org.apache.spark.SparkEnv$",
    "org.apache.spark.internal.config.package$",
  };

  private static JsonNode secret(String socket, String name) throws IOException {
    ObjectMapper json = new ObjectMapper();
    try (SocketChannel channel = SocketChannel.open(StandardProtocolFamily.UNIX)) {
      channel.connect(UnixDomainSocketAddress.of(socket));
      String request = json.createObjectNode().put("op", "secret").put("name", name) + "\n";
      channel.write(ByteBuffer.wrap(request.getBytes(StandardCharsets.UTF_8)));
      JsonNode answer = json.readTree(Channels.newInputStream(channel));
      if (!answer.has("secret")) {
        throw new IOException("the agent refused: " + answer.path("message").asText());
      }
      return answer.get("secret");
    }
  }
}
