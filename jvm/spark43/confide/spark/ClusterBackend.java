package confide.spark;

import confide.AgentClient;
import confide.ConfideException;
import org.apache.spark.SparkContext;
import org.apache.spark.scheduler.TaskSchedulerImpl;
import org.apache.spark.scheduler.cluster.CoarseGrainedSchedulerBackend;

/**
 * The driver's side of executors that join by themselves: it tells the agent where it listens, and waits for them.
 *
 * <p>Who may register is not decided here: only members of the job can open a channel to this driver at all.
 */
final class ClusterBackend extends CoarseGrainedSchedulerBackend {
  private static final double READY_RATIO = 0.8; // as on Kubernetes and YARN

  private final int executors;
  private final SparkContext context;

  ClusterBackend(TaskSchedulerImpl scheduler, SparkContext context, int executors) {
    super(scheduler, context.env().rpcEnv());
    this.executors = executors;
    this.context = context;
  }

  @Override
  public void start() {
    super.start();
    String host = context.conf().get("spark.driver.host");
    try {
      AgentClient.fromEnvironment()
          .announce(host + ":" + context.conf().get("spark.driver.port"), applicationId());
    } catch (ConfideException e) {
      throw ConfideException.sneak(e);
    }
  }

  @Override
  public double minRegisteredRatio() {
    return context.conf().contains("spark.scheduler.minRegisteredResourcesRatio")
        ? super.minRegisteredRatio()
        : READY_RATIO;
  }

  @Override
  public boolean sufficientResourcesRegistered() {
    return totalRegisteredExecutors().get() >= executors * minRegisteredRatio();
  }
}
