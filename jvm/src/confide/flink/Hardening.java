package confide.flink;

import com.fasterxml.jackson.databind.JsonNode;
import confide.CommittingFileSystem;
import confide.KeyUse;
import confide.LaunchRefused;
import confide.SettingsTable;
import confide.flink.kafka.KafkaParts;
import java.io.IOException;
import java.util.Map;
import java.util.Set;
import java.util.TreeMap;
import org.apache.flink.api.common.io.FinalizeOnMaster;
import org.apache.flink.configuration.CheckpointingOptions;
import org.apache.flink.configuration.ConfigOption;
import org.apache.flink.configuration.Configuration;
import org.apache.flink.streaming.api.graph.StreamGraph;
import org.apache.flink.streaming.api.graph.StreamNode;
import org.apache.flink.streaming.api.operators.collect.CollectSinkOperatorFactory;
import org.apache.flink.streaming.api.operators.python.process.AbstractExternalPythonFunctionOperator;
import org.apache.hadoop.fs.Path;

/**
 * Compares each job with the hardened settings before it runs, and refuses, by name, what differs; keys are used
 * only once a job has passed.
 *
 * <p>The table is {@code confide/flink/settings.py}.
 */
final class Hardening {
  /** A checkpoint that a lost task manager left has as many files as its state has parts. */
  private static final long FIRST_COMMITS_NS = 1_000_000_000L;
  private static final boolean OPEN_LOOPBACK = "open".equals(System.getProperty("confide.loopback"));
  /** Packages of operators that read a sink's files again while they have hidden names, which no listing holds. */
  private static final Set<String> COMPACTION = Set.of(
      "org.apache.flink.connector.file.table.stream.compact",
      "org.apache.flink.connector.file.table.batch.compact",
      "org.apache.flink.connector.file.sink.compactor.operator");

  private static volatile SettingsTable table;
  private static volatile boolean passed;
  private static volatile boolean taskManager;

  static {
    KeyUse.allowedBy(
        new KeyUse.Rule() {
          @Override
          public void check() {
            required();
          }

          @Override
          public boolean committedElsewhere() {
            return taskManager || JobManager.isRunning();
          }

          @Override
          public long firstCommitsNs() {
            return FIRST_COMMITS_NS;
          }
        });
  }

  private Hardening() {}

  static synchronized void install(JsonNode settings) {
    if (table != null) {
      throw new LaunchRefused("the hardened settings are already in place");
    }
    table = new SettingsTable(settings);
  }

  /** The same in the JVM of a task manager, whose jobs its job manager has checked; returns its configuration. */
  static synchronized Configuration installTaskManager(JsonNode secret) {
    install(secret.path("settings"));
    Configuration configuration = configuration(secret);
    table.check(new TreeMap<>(configuration.toMap()), "");
    taskManager = true;
    passed = true;
    return configuration;
  }

  /** The settings that a process starts with. */
  static Configuration configuration(JsonNode secret) {
    Configuration configuration = new Configuration();
    for (Map.Entry<String, JsonNode> property : secret.path("properties").properties()) {
      configuration.setString(property.getKey(), property.getValue().asText());
    }
    return configuration;
  }

  /**
   * Refuses a job whose configuration differs from the table, that would write its state into a location which holds
   * committed files, or with an operator that hands its records to another process, to another enclave in clear, or to a
   * Kafka unsealed.
   *
   * @throws LaunchRefused naming the first setting or operator at fault
   */
  static void check(StreamGraph job, Configuration configuration) throws IOException {
    if (table == null) {
      throw new LaunchRefused("this JVM was not started by confide.flink.Gateway");
    }
    Configuration actual = new Configuration(configuration);
    actual.addAll(job.getJobConfiguration());
    table.check(new TreeMap<>(actual.toMap()), "");
    if (JobManager.isRunning()) {
      CommittingFileSystem.followOthers(); // what task managers committed for earlier jobs
    }
    checkState(actual, CheckpointingOptions.CHECKPOINTS_DIRECTORY);
    checkState(actual, CheckpointingOptions.SAVEPOINT_DIRECTORY);
    KafkaParts kafka = new KafkaParts();
    for (StreamNode node : job.getStreamNodes()) {
      checkOperator(node, kafka);
    }
    passed = true;
    kafka.requireWays();
  }

  /** State gets into no listing, so where one says what a location holds, it could not be read again. */
  private static void checkState(Configuration actual, ConfigOption<String> option) throws IOException {
    String place = actual.get(option);
    if (place != null && CommittingFileSystem.isListed(new Path(place))) {
      throw new LaunchRefused(option.key() + "=" + place + ": committed files lie there, and state gets into no "
          + "listing: give it a location of its own");
    }
  }

  private static void checkOperator(StreamNode node, KafkaParts kafka) throws IOException {
    if (node.getOperatorFactory() == null) {
      return;
    }
    SourcesAndSinks.check(node.getOperatorFactory(), node.getOperatorName(), kafka);
    if (OPEN_LOOPBACK && node.getOperatorFactory() instanceof CollectSinkOperatorFactory) {
      throw new LaunchRefused("collecting results (execute_and_collect, or execute().print() of a table) sends them "
          + "without TLS over a network that is the host's: write them to a sink");
    }
    if (JobManager.isRunning() && node.getOutputFormat() instanceof FinalizeOnMaster) {
      throw new LaunchRefused("the sink " + node.getOperatorName() + " has the job manager give their names to files that "
          + "task managers wrote, and which those are, storage would say: insert in streaming mode, with checkpoints");
    }
    Class<?> operator;
    try {
      operator = node.getOperatorFactory()
          .getStreamOperatorClass(Thread.currentThread().getContextClassLoader());
    } catch (UnsupportedOperationException e) {
      return; // of no single class, so none of Python's
    }
    if (COMPACTION.contains(operator.getPackageName())) {
      throw new LaunchRefused("the operator " + node.getOperatorName() + " (" + operator.getSimpleName()
          + ") joins files that the sink has written, and which those are, storage would say: leave out auto-compaction "
          + "(enable_compact of a FileSink)");
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
