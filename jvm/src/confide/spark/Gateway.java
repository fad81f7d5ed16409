package confide.spark;

import com.fasterxml.jackson.databind.JsonNode;
import confide.AgentClient;
import confide.MutualTls;
import java.io.PrintStream;

/**
 * The JVM of a confined Spark driver.
 *
 * <p>What {@code spark-submit pyspark-shell} does for PySpark, with three differences: the gateway speaks mutual
 * TLS, its secrets and the hardened settings come from the agent's socket (so never from an argument, the
 * environment or a file), and no shell is involved. Ends when its standard input does.
 */
public final class Gateway {
  private Gateway() {}

  /** Prints the gateway's port, and nothing else ever, to standard output. */
  public static void main(String[] args) throws Exception {
    PrintStream port = System.out;
    System.setOut(System.err);
    JsonNode secret = AgentClient.fromEnvironment().secret("gateway");
    Hardening.install(secret);
    TlsGatewayServer server =
        TlsGatewayServer.create(new MutualTls(secret.path("tls")), secret.path("token").asText());
    server.start();
    port.println(server.getListeningPort());
    port.close();
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
}
