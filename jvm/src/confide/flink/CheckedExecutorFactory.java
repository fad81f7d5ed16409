package confide.flink;

import confide.LaunchRefused;
import org.apache.flink.client.deployment.executors.LocalExecutor;
import org.apache.flink.configuration.Configuration;
import org.apache.flink.configuration.DeploymentOptions;
import org.apache.flink.core.execution.PipelineExecutor;
import org.apache.flink.core.execution.PipelineExecutorFactory;
import org.apache.flink.streaming.api.graph.StreamGraph;

/**
 * Flink's local executor, or the job manager here, behind the comparison with the hardened settings.
 *
 * <p>Flink asks every executor factory about every job; this one refuses jobs for any other.
 */
public final class CheckedExecutorFactory implements PipelineExecutorFactory {
  static final String NAME = "confide";

  @Override
  public String getName() {
    return NAME;
  }

  @Override
  public boolean isCompatibleWith(Configuration configuration) {
    String target = configuration.get(DeploymentOptions.TARGET);
    if (!NAME.equals(target)) {
      throw new LaunchRefused(
          "execution.target=" + target + " would weaken the protection: the job would run unchecked");
    }
    return true;
  }

  @Override
  public PipelineExecutor getExecutor(Configuration base) {
    return (pipeline, configuration, loader) -> {
      Configuration merged = new Configuration(base);
      merged.addAll(configuration);
      Hardening.check((StreamGraph) pipeline, merged);
      return JobManager.isRunning()
          ? JobManager.execute((StreamGraph) pipeline, merged, loader)
          : LocalExecutor.create(merged).execute(pipeline, configuration, loader);
    };
  }
}
