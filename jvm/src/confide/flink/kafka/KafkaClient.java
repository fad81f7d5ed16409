package confide.flink.kafka;

import java.util.ArrayList;
import java.util.Collection;
import java.util.List;
import java.util.Properties;
import java.util.concurrent.Future;
import java.util.concurrent.TimeUnit;

/** Kafka's own client, as a jar of the program brings it: by itself, or in the connector's. */
final class KafkaClient {
  private static final long MAX_S = 20;
  private static final List<String> PREFIXES =
      List.of("org.apache.kafka.", "org.apache.flink.kafka.shaded.org.apache.kafka.");

  private KafkaClient() {}

  /** Loads a class of the client; null: there is none. */
  static Class<?> load(String name) {
    for (String prefix : PREFIXES) {
      try {
        return Class.forName(prefix + name);
      } catch (ClassNotFoundException e) {
        // it may be in the other one
      }
    }
    return null;
  }

  /** Returns {@code host:port} of each broker as the cluster tells them; none if it does not answer. */
  static List<String> brokers(Properties settings) {
    List<String> found = new ArrayList<>();
    try (AutoCloseable admin = (AutoCloseable) load("clients.admin.Admin").getMethod("create", Properties.class)
        .invoke(null, settings)) {
      Object cluster = load("clients.admin.Admin").getMethod("describeCluster").invoke(admin);
      Future<?> nodes = (Future<?>) cluster.getClass().getMethod("nodes").invoke(cluster);
      for (Object node : (Collection<?>) nodes.get(MAX_S, TimeUnit.SECONDS)) {
        found.add(node.getClass().getMethod("host").invoke(node) + ":" + node.getClass().getMethod("port").invoke(node));
      }
    } catch (Exception e) {
      return List.of(); // the job, which tries the same, will say what is the matter
    }
    return found;
  }
}
