package confide.spark;

import confide.AgentClient;
import confide.ConfideException;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import org.apache.spark.SparkContext;
import org.apache.spark.scheduler.TaskSchedulerImpl;
import org.apache.spark.scheduler.cluster.CoarseGrainedSchedulerBackend;

/**
 * The master {@code confide://N}: N executors are started outside, each in an enclave of its own, and join by themselves.
 * The driver tells the agent where it listens, and waits for them.
 *
 * <p>Who may register is not decided here: only members of the job can open a channel to this driver at all.
 */
final class ClusterBackend extends CoarseGrainedSchedulerBackend {
  static final Pattern MASTER = Pattern.compile("confide://([1-9][0-9]{0,4})");

  private static final double READY_RATIO = 0.8; // as on Kubernetes and YARN

  private final int executors;
  private final SparkContext context;

  private ClusterBackend(TaskSchedulerImpl scheduler, SparkContext context, int executors) {
    super(scheduler, context.env().rpcEnv());
    this.executors = executors;
    this.context = context;
  }

  static ClusterBackend of(SparkContext context, String master, TaskSchedulerImpl scheduler) {
    Matcher match = MASTER.matcher(master);
    if (!match.matches()) {
      throw new IllegalArgumentException("not a master of confide: " + master);
    }
    return new ClusterBackend(scheduler, context, Integer.parseInt(match.group(1)));
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
