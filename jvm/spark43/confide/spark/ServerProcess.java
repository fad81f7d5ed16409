package confide.spark;

import com.fasterxml.jackson.databind.JsonNode;
import confide.AgentClient;
import java.io.PrintStream;
import org.apache.spark.sql.SparkSession;
import org.apache.spark.sql.execution.datasources.jdbc.connection.ConnectionProvider$;

/** What the JVMs of all servers do alike: settings from the agent, a port to standard output, an end with the input. */
final class ServerProcess {
  /** A server. */
  interface Server {
    /** Starts it and returns the port that it listens on. */
    int start(SparkSession session, JsonNode secret) throws Exception;

    /** Ends it. */
    void stop();
  }

  private ServerProcess() {}

  /** Runs a server until standard input ends. */
  static void run(Server server) throws Exception {
    PrintStream port = System.out;
    System.setOut(System.err);
    JsonNode secret = AgentClient.fromEnvironment().secret("server");
    Hardening.installServer(secret);
    // A schema that a client names for XML may name others, and those would not be read through the guard.
    System.setProperty("javax.xml.accessExternalDTD", "");
    System.setProperty("javax.xml.accessExternalSchema", "");
    SparkSession session = SparkSession.builder().getOrCreate();
    ConnectionProvider$.MODULE$.providers(); // read once for the JVM, and now by the hardened setting
    port.println(server.start(session, secret));
    port.close();
    while (System.in.read() != -1) {
      // Nothing is ever sent: the end of the stream says that it is to stop.
    }
    server.stop();
    session.stop();
    System.exit(0);
  }
}
