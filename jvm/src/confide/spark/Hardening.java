package confide.spark;

import com.fasterxml.jackson.databind.JsonNode;
import confide.KeyUse;
import confide.LaunchRefused;
import confide.LocalGuard;
import confide.SettingsTable;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.charset.StandardCharsets;
import java.util.Map;
import java.util.TreeMap;
import org.apache.hadoop.conf.Configuration;
import org.apache.hadoop.io.Text;
import org.apache.hadoop.security.Credentials;
import org.apache.hadoop.security.UserGroupInformation;
import org.apache.spark.SparkConf;
import org.apache.spark.SparkContext;
import org.apache.spark.api.plugin.DriverPlugin;
import org.apache.spark.api.plugin.ExecutorPlugin;
import org.apache.spark.api.plugin.PluginContext;
import org.apache.spark.api.plugin.SparkPlugin;
import org.apache.spark.deploy.SparkHadoopUtil;
import scala.Tuple2;

/**
 * Compares Spark's settings with the hardened ones and refuses, by name, those that differ.
 *
 * <p>It is asked three times: by the driver before a context is made, by Spark as a plugin, and by the way to
 * the keys ({@link #required}). The table is {@code confide/spark/settings.py}; it arrives once, through the
 * agent's socket.
 */
public final class Hardening implements SparkPlugin {
  /** A session may name a Hadoop setting without Spark's prefix. */
  private static final String HADOOP = "spark.hadoop.";

  private static volatile SettingsTable table;
  private static volatile boolean enforced;
  private static volatile boolean executor;
  private static volatile boolean server;

  static {
    KeyUse.allowedBy(
        new KeyUse.Rule() {
          @Override
          public void check() {
            required();
          }

          @Override
          public boolean committedElsewhere() {
            return executor || server;
          }
        });
  }

  /**
   * Takes {@code properties}, which become Spark's settings, the table, {@code settings}, and {@code credentials}; then
   * opens {@code file:}, before code of the program could.
   */
  static synchronized void install(JsonNode secret) throws IOException {
    if (table != null) {
      throw new LaunchRefused("the hardened settings are already in place");
    }
    table = new SettingsTable(secret.path("settings"));
    Configuration hadoop = new Configuration();
    for (Map.Entry<String, JsonNode> property : secret.path("properties").properties()) {
      String name = property.getKey();
      String value = property.getValue().asText();
      System.setProperty(name, value);
      if (name.startsWith(HADOOP)) {
        hadoop.set(name.substring(HADOOP.length()), value);
      }
    }
    addCredentials(secret.path("credentials"));
    LocalGuard.require(hadoop);
  }

  /**
   * Has Spark look its secrets up in the credentials of its Hadoop user, which executors' own user takes over. As settings
   * they would reach every Python function, among the local properties of its task.
   */
  private static void addCredentials(JsonNode secrets) throws IOException {
    Credentials credentials = new Credentials();
    for (Map.Entry<String, JsonNode> secret : secrets.properties()) {
      byte[] value = secret.getValue().asText().getBytes(StandardCharsets.UTF_8);
      credentials.addSecretKey(new Text(secret.getKey()), value);
    }
    UserGroupInformation.getCurrentUser().addCredentials(credentials);
  }

  /** The same in the JVM of an executor, which follows the driver's commits. */
  static void installExecutor(JsonNode secret) throws IOException {
    install(secret);
    requireTrust(System.getProperty(TrustStore.FILE));
    executor = true;
  }

  /** The same in the JVM of a server: it outlives commits of others, and nobody measured its clients. */
  static void installServer(JsonNode secret) throws IOException {
    install(secret);
    server = true;
  }

  /** Whether queries come from clients. */
  static boolean isServer() {
    return server;
  }

  /**
   * Refuses a configuration that differs from the table.
   *
   * @throws LaunchRefused naming the first setting at fault, in the order of the names.
   */
  public static void check(SparkConf conf) {
    Map<String, String> actual = new TreeMap<>();
    for (Tuple2<String, String> setting : conf.getAll()) {
      actual.put(setting._1(), setting._2());
    }
    rules().check(actual, HADOOP);
    requireTrust(actual.get(TrustStore.FILE));
  }

  /** Where Spark is to speak TLS, it must know whom to trust. */
  private static void requireTrust(String file) {
    if (!rules().fixes(TrustStore.FILE)) {
      return;
    }
    try {
      byte[] password = UserGroupInformation.getCurrentUser().getCredentials().getSecretKey(new Text(TrustStore.PASSWORD));
      TrustStore.require(file, password == null ? null : new String(password, StandardCharsets.UTF_8));
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
  }

  /** Refuses settings of one session or one query that contradict the table; absent ones are in order. */
  static void checkPresent(Map<String, String> actual) {
    rules().checkPresent(actual, HADOOP);
  }

  /** The same for all settings of a session; in a server's, where a client may unset them, none is absent. */
  static void checkSession(Map<String, String> actual) {
    rules().checkPresent(actual, HADOOP);
    if (server) {
      rules().checkComplete(actual, "spark.sql.");
    }
  }

  private static SettingsTable rules() {
    SettingsTable rules = table;
    if (rules == null) {
      throw new LaunchRefused("this JVM was not started by confide");
    }
    return rules;
  }

  /**
   * For code about to use a key: refuses unless Spark runs with checked settings.
   *
   * @throws LaunchRefused when no context passed the check.
   */
  public static void required() {
    if (!enforced) {
      throw new LaunchRefused("keys are used only under a Spark context with the hardened settings");
    }
  }

  private static void requireGuard(SparkConf conf) {
    try {
      LocalGuard.require(SparkHadoopUtil.get().newConfiguration(conf));
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
  }

  @Override
  public DriverPlugin driverPlugin() {
    return new DriverPlugin() {
      @Override
      public Map<String, String> init(SparkContext context, PluginContext plugin) {
        check(context.getConf());
        requireGuard(context.getConf());
        WebPages.close(context);
        enforced = true;
        return Map.of();
      }

      @Override
      public void shutdown() {
        enforced = false;
      }
    };
  }

  @Override
  public ExecutorPlugin executorPlugin() {
    return new ExecutorPlugin() {
      @Override
      public void init(PluginContext plugin, Map<String, String> extra) {
        check(plugin.conf());
        requireGuard(plugin.conf()); // Spark runs executors as a Hadoop user of their own, with file systems of its own
        enforced = true;
      }
    };
  }
}
