package confide.spark;

import java.util.regex.Matcher;
import java.util.regex.Pattern;
import org.apache.spark.SparkContext;
import org.apache.spark.scheduler.ExternalClusterManager;
import org.apache.spark.scheduler.SchedulerBackend;
import org.apache.spark.scheduler.TaskScheduler;
import org.apache.spark.scheduler.TaskSchedulerImpl;

/**
 * The master {@code confide://N}: a job whose N executors are started outside, each in an enclave of its own, and
 * join by themselves. No daemon stands between driver and executors, so none learns the job's secret.
 */
public final class ClusterManager implements ExternalClusterManager {
  private static final Pattern MASTER = Pattern.compile("confide://([1-9][0-9]{0,4})");

  @Override
  public boolean canCreate(String master) {
    return MASTER.matcher(master).matches();
  }

  @Override
  public TaskScheduler createTaskScheduler(SparkContext context, String master) {
    return new TaskSchedulerImpl(context);
  }

  @Override
  public SchedulerBackend createSchedulerBackend(SparkContext context, String master, TaskScheduler scheduler) {
    Matcher match = MASTER.matcher(master);
    if (!match.matches()) {
      throw new IllegalArgumentException("not a master of confide: " + master);
    }
    return new ClusterBackend((TaskSchedulerImpl) scheduler, context, Integer.parseInt(match.group(1)));
  }

  @Override
  public void initialize(TaskScheduler scheduler, SchedulerBackend backend) {
    ((TaskSchedulerImpl) scheduler).initialize(backend);
  }
}
