package confide.flink;

import com.fasterxml.jackson.databind.JsonNode;
import confide.AgentClient;
import confide.MutualTls;
import confide.flink.kafka.BrokerWays;
import java.lang.reflect.Method;
import java.net.InetAddress;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Map;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.TimeUnit;
import org.apache.flink.api.python.shaded.py4j.CallbackClient;
import org.apache.flink.api.python.shaded.py4j.GatewayServer;
import org.apache.flink.configuration.Configuration;
import org.apache.flink.core.fs.FileSystem;

/**
 * The JVM of a confined PyFlink driver.
 *
 * <p>What {@code PythonGatewayServer} does for PyFlink, with two differences: the gateway speaks mutual TLS and asks
 * for a token (Flink's has neither), and its secrets and the hardened settings come from the agent's socket. Ends
 * when its standard input does.
 */
public final class Gateway {
  private Gateway() {}

  /**
   * @param args one file (a pipe's {@code /proc/self/fd/N}) that receives the gateway's port and a newline; {@code -}
   *     is standard output, before anything else is printed.
   */
  public static void main(String[] args) throws Exception {
    JsonNode secret = AgentClient.fromEnvironment().secret("gateway");
    Hardening.install(secret.path("settings"));
    Configuration hardened = Hardening.configuration(secret);
    FileSystem.initialize(hardened, null);
    BrokerWays.open(secret.path("brokers"));
    if (secret.path("cluster").asBoolean()) {
      JobManager.start(hardened);
    }
    ConfinedEnvironment.install(hardened);
    GatewayServer server = server(new MutualTls(secret.path("tls")), secret.path("token").asText());
    tellFlink(server);
    server.start();
    String port = server.getListeningPort() + "\n";
    if (args[0].equals("-")) {
      System.out.print(port);
      System.out.flush();
    } else {
      Files.writeString(Path.of(args[0]), port);
    }
    while (System.in.read() != -1) {
      // Nothing is ever sent: the end of the stream says that the driver is gone.
    }
    System.exit(0);
  }

  private static GatewayServer server(MutualTls tls, String token) {
    InetAddress loopback = InetAddress.getLoopbackAddress();
    CallbackClient python =
        new CallbackClient(0, loopback, token, 0, TimeUnit.SECONDS, tls.clientSockets(), true, 0);
    Map<String, Object> entryPoint = new ConcurrentHashMap<>();
    return new GatewayServer.GatewayServerBuilder()
        .gateway(new org.apache.flink.api.python.shaded.py4j.Gateway(entryPoint, python))
        .javaPort(0)
        .javaAddress(loopback)
        .serverSocketFactory(tls.serverSockets())
        .authToken(token)
        .build();
  }

  /** Functions that SQL declares (`CREATE FUNCTION ... LANGUAGE PYTHON`) are looked up through the gateway. */
  private static void tellFlink(GatewayServer server) throws ReflectiveOperationException {
    Class<?> holder = Class.forName("org.apache.flink.client.python.PythonEnvUtils"); // not public
    Method set = holder.getDeclaredMethod("setGatewayServer", GatewayServer.class);
    set.setAccessible(true);
    set.invoke(null, server);
  }
}
