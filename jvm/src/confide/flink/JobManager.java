package confide.flink;

import confide.AgentClient;
import java.util.concurrent.CompletableFuture;
import org.apache.flink.client.deployment.executors.RemoteExecutorFactory;
import org.apache.flink.configuration.Configuration;
import org.apache.flink.configuration.JobManagerOptions;
import org.apache.flink.configuration.RestOptions;
import org.apache.flink.core.execution.JobClient;
import org.apache.flink.runtime.entrypoint.StandaloneSessionClusterEntrypoint;
import org.apache.flink.streaming.api.graph.StreamGraph;

/**
 * Flink's own job manager in the JVM of the program, for task managers that run in enclaves of their own.
 *
 * <p>It takes jobs of this JVM alone: they reach it by REST on loopback, with a certificate that nobody else has. Who may
 * register as a task manager is not decided here: only members of the job can open a channel to it at all.
 */
final class JobManager {
  private static volatile StandaloneSessionClusterEntrypoint cluster;

  private JobManager() {}

  /** Starts it, and tells the agent where it listens. */
  static void start(Configuration hardened) throws Exception {
    StandaloneSessionClusterEntrypoint started = new StandaloneSessionClusterEntrypoint(hardened);
    started.startCluster();
    cluster = started;
    String address = hardened.get(JobManagerOptions.ADDRESS) + ":" + started.getRpcPort();
    AgentClient.fromEnvironment().announce(address, "flink");
  }

  static boolean isRunning() {
    return cluster != null;
  }

  /** Runs a job that was checked. */
  static CompletableFuture<JobClient> execute(StreamGraph job, Configuration configuration, ClassLoader loader)
      throws Exception {
    Configuration here = new Configuration(configuration);
    here.set(RestOptions.PORT, cluster.getRestPort());
    return new RemoteExecutorFactory().getExecutor(here).execute(job, here, loader);
  }
}
