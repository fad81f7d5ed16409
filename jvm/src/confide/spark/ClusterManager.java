package confide.spark;

import org.apache.spark.SparkContext;
import org.apache.spark.scheduler.ExternalClusterManager;
import org.apache.spark.scheduler.SchedulerBackend;
import org.apache.spark.scheduler.TaskScheduler;
import org.apache.spark.scheduler.TaskSchedulerImpl;

/**
 * A master of ours, whose executors join the driver by themselves. No daemon stands between them, so none learns the
 * secret of their channel. Which master that is, and who starts the executors, says {@code ClusterBackend}, of which each
 * version of Spark has its own.
 */
public final class ClusterManager implements ExternalClusterManager {
  @Override
  public boolean canCreate(String master) {
    return ClusterBackend.MASTER.matcher(master).matches();
  }

  @Override
  public TaskScheduler createTaskScheduler(SparkContext context, String master) {
    return new TaskSchedulerImpl(context);
  }

  @Override
  public SchedulerBackend createSchedulerBackend(SparkContext context, String master, TaskScheduler scheduler) {
    return ClusterBackend.of(context, master, (TaskSchedulerImpl) scheduler);
  }

  @Override
  public void initialize(TaskScheduler scheduler, SchedulerBackend backend) {
    ((TaskSchedulerImpl) scheduler).initialize(backend);
  }
}
