package confide.flink;

import com.fasterxml.jackson.databind.JsonNode;
import confide.KeyUse;
import confide.LaunchRefused;
import confide.SettingsTable;
import java.util.Map;
import java.util.TreeMap;
import org.apache.flink.configuration.Configuration;
import org.apache.flink.streaming.api.graph.StreamGraph;
import org.apache.flink.streaming.api.graph.StreamNode;
import org.apache.flink.streaming.api.operators.python.process.AbstractExternalPythonFunctionOperator;

/**
 * Compares each job with the hardened settings before it runs, and refuses, by name, what differs; keys are used
 * only once a job has passed.
 *
 * <p>The table is {@code confide/flink/settings.py}.
 */
final class Hardening {
  private static volatile SettingsTable table;
  private static volatile boolean passed;

  static {
    KeyUse.allowedBy(Hardening::required);
  }

  private Hardening() {}

  static synchronized void install(JsonNode settings) {
    if (table != null) {
      throw new LaunchRefused("the hardened settings are already in place");
    }
    table = new SettingsTable(settings);
  }

  /**
   * Refuses a job whose configuration differs from the table, or with an operator that hands its records to another
   * process.
   *
   * @throws LaunchRefused naming the first setting or operator at fault
   */
  static void check(StreamGraph job, Configuration configuration) {
    if (table == null) {
      throw new LaunchRefused("this JVM was not started by confide.flink.Gateway");
    }
    Map<String, String> actual = new TreeMap<>(configuration.toMap());
    actual.putAll(job.getJobConfiguration().toMap());
    table.check(actual, "");
    for (StreamNode node : job.getStreamNodes()) {
      checkOperator(node);
    }
    passed = true;
  }

  private static void checkOperator(StreamNode node) {
    if (node.getOperatorFactory() == null) {
      return;
    }
    Class<?> operator;
    try {
      operator = node.getOperatorFactory()
          .getStreamOperatorClass(Thread.currentThread().getContextClassLoader());
    } catch (UnsupportedOperationException e) {
      return; // of no single class, so none of Python's
    }
    if (AbstractExternalPythonFunctionOperator.class.isAssignableFrom(operator)) {
      throw new LaunchRefused("the operator " + node.getOperatorName() + " (" + operator.getSimpleName()
          + ") would run Python in another process, to which Flink sends every record in clear: Flink knows no other "
          + "way for it (Python aggregate functions are of that kind)");
    }
  }

  private static void required() {
    if (!passed) {
      throw new LaunchRefused("keys are used only under a job with the hardened settings");
    }
  }
}
