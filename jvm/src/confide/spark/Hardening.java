package confide.spark;

import com.fasterxml.jackson.databind.JsonNode;
import confide.KeyUse;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import java.util.regex.Pattern;
import org.apache.spark.SparkConf;
import org.apache.spark.SparkContext;
import org.apache.spark.api.plugin.DriverPlugin;
import org.apache.spark.api.plugin.ExecutorPlugin;
import org.apache.spark.api.plugin.PluginContext;
import org.apache.spark.api.plugin.SparkPlugin;
import scala.Tuple2;

/**
 * Compares Spark's settings with the hardened ones and refuses, by name, those that differ.
 *
 * <p>It is asked three times: by the driver before a context is made, by Spark as a plugin, and by the way to
 * the keys ({@link #required}). The table is {@code confide/spark/settings.py}; it arrives once, through the
 * agent's socket.
 */
public final class Hardening implements SparkPlugin {
  private static volatile Table table;
  private static volatile boolean enforced;

  static {
    KeyUse.allowedBy(Hardening::required);
  }

  private record Fixed(Pattern accepted, String reason) {
    boolean accepts(String value) {
      return value != null && accepted.matcher(value).matches();
    }
  }

  private record Forbidden(Pattern name, String reason) {}

  private record Table(Map<String, Fixed> fixed, List<Forbidden> forbidden) {}

  /** Takes the table: {@code fixed} {name, accepts, reason}, {@code forbidden} {name, reason}; regular expressions. */
  static synchronized void install(JsonNode settings) {
    if (table != null) {
      throw new LaunchRefused("the hardened settings are already in place");
    }
    Map<String, Fixed> fixed = new TreeMap<>();
    for (JsonNode row : settings.path("fixed")) {
      Pattern accepted = Pattern.compile(row.path("accepts").asText());
      fixed.put(row.path("name").asText(), new Fixed(accepted, row.path("reason").asText()));
    }
    List<Forbidden> forbidden = new ArrayList<>();
    for (JsonNode row : settings.path("forbidden")) {
      forbidden.add(new Forbidden(Pattern.compile(row.path("name").asText()), row.path("reason").asText()));
    }
    if (fixed.isEmpty()) {
      throw new LaunchRefused("the agent gave no hardened settings");
    }
    table = new Table(fixed, forbidden);
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
    rules()
        .fixed
        .forEach(
            (name, fixed) -> {
              if (!fixed.accepts(actual.get(name))) {
                throw refusal(name, actual.get(name), fixed.reason);
              }
            });
    checkPresent(actual);
  }

  /** Refuses settings of one session or one query that contradict the table; absent ones are in order. */
  static void checkPresent(Map<String, String> actual) {
    Table rules = rules();
    actual.forEach(
        (name, value) -> {
          // A session may name a Hadoop setting without Spark's prefix.
          for (String full : List.of(name, "spark.hadoop." + name)) {
            Fixed fixed = rules.fixed.get(full);
            if (fixed != null) {
              if (!fixed.accepts(value)) {
                throw refusal(name, value, fixed.reason);
              }
              return;
            }
          }
          for (Forbidden rule : rules.forbidden) {
            if (rule.name.matcher(name).matches() || rule.name.matcher("spark.hadoop." + name).matches()) {
              throw refusal(name, value, rule.reason);
            }
          }
        });
  }

  private static LaunchRefused refusal(String name, String value, String reason) {
    return new LaunchRefused(
        (value == null ? "unsetting " + name : name + "=" + value) + " would weaken the protection: " + reason);
  }

  private static Table rules() {
    Table rules = table;
    if (rules == null) {
      throw new LaunchRefused("this JVM was not started by confide.spark.Gateway");
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

  @Override
  public DriverPlugin driverPlugin() {
    return new DriverPlugin() {
      @Override
      public Map<String, String> init(SparkContext context, PluginContext plugin) {
        check(context.getConf());
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
    return null; // Local mode: the executor is this JVM.
  }
}
