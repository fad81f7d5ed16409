package confide.flink.kafka;

import java.lang.reflect.Field;
import java.util.ArrayList;
import java.util.Collection;
import java.util.List;
import java.util.Properties;
import java.util.concurrent.Future;

/** Kafka's own client, as a jar of the program brings it: by itself, or in the connector's. */
final class KafkaClient {
  private static final long MAX_MS = 20_000;
  private static final long PAUSE_MS = 50;
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

  /**
   * Returns {@code host:port} of each broker as the cluster tells them; none if it does not answer.
   *
   * <p>The client asks the first broker that it was told, and everything else of those that this one tells: so its answer
   * is taken from where the client keeps it, as there may be no way to them.
   */
  static List<String> brokers(Properties settings) {
    Class<?> type = load("clients.admin.Admin");
    try (AutoCloseable admin = (AutoCloseable) type.getMethod("create", Properties.class).invoke(null, settings)) {
      Object asked = type.getMethod("describeCluster").invoke(admin);
      Future<?> failed = (Future<?>) asked.getClass().getMethod("nodes").invoke(asked);
      for (long waited = 0; waited < MAX_MS; waited += PAUSE_MS) {
        List<String> found = told(admin);
        if (!found.isEmpty() || failed.isDone()) {
          return found;
        }
        Thread.sleep(PAUSE_MS);
      }
    } catch (Exception e) {
      // the job, which tries the same, will say what is the matter
    }
    return List.of();
  }

  private static List<String> told(Object admin) throws ReflectiveOperationException {
    Object cluster = field(field(admin, "metadataManager"), "cluster");
    List<String> found = new ArrayList<>();
    for (Object node : (Collection<?>) cluster.getClass().getMethod("nodes").invoke(cluster)) {
      if ((int) node.getClass().getMethod("id").invoke(node) >= 0) { // others are those that the client was told
        found.add(node.getClass().getMethod("host").invoke(node) + ":" + node.getClass().getMethod("port").invoke(node));
      }
    }
    return found;
  }

  private static Object field(Object of, String name) throws ReflectiveOperationException {
    Field field = of.getClass().getDeclaredField(name);
    field.setAccessible(true);
    return field.get(of);
  }
}
