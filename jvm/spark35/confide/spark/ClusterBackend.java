package confide.spark;

import com.fasterxml.jackson.databind.JsonNode;
import confide.AgentClient;
import confide.ConfideException;
import java.io.File;
import java.io.IOException;
import java.lang.ProcessBuilder.Redirect;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.TimeUnit;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import org.apache.spark.SparkContext;
import org.apache.spark.scheduler.TaskSchedulerImpl;
import org.apache.spark.scheduler.cluster.CoarseGrainedSchedulerBackend;

/**
 * The master {@code spark-local-cluster[N,CORES,MIB]}: N executors are children of this JVM, in the enclave and the network
 * that it has for itself.
 *
 * <p>Their command is the agent's, and nothing that a program sets changes it. An executor that ends is replaced, as often as
 * there are executors, and at least three times. Libraries know a cluster by the first word of its master, so that is Spark's.
 */
final class ClusterBackend extends CoarseGrainedSchedulerBackend {
  static final Pattern MASTER =
      Pattern.compile("spark-local-cluster\\[([1-9][0-9]{0,3}),([1-9][0-9]{0,3}),[1-9][0-9]{0,7}\\]");
  private static final int STOP_SECONDS = 10;

  private final TaskSchedulerImpl scheduler;
  private final SparkContext context;
  private final int executors;
  private final String cores;
  private final List<Process> running = new ArrayList<>();
  private JsonNode start;
  private int started;
  private boolean stopping;

  private ClusterBackend(TaskSchedulerImpl scheduler, SparkContext context, int executors, String cores) {
    super(scheduler, context.env().rpcEnv());
    this.scheduler = scheduler;
    this.context = context;
    this.executors = executors;
    this.cores = cores;
  }

  static ClusterBackend of(SparkContext context, String master, TaskSchedulerImpl scheduler) {
    Matcher match = MASTER.matcher(master);
    if (!match.matches()) {
      throw new IllegalArgumentException("not a master of confide: " + master);
    }
    return new ClusterBackend(scheduler, context, Integer.parseInt(match.group(1)), match.group(2));
  }

  @Override
  public void start() {
    super.start();
    try {
      start = AgentClient.fromEnvironment().secret("executor");
    } catch (ConfideException e) {
      throw ConfideException.sneak(e);
    }
    for (int i = 0; i < executors; i++) {
      Thread keeper = new Thread(this::keep, "confide-executor");
      keeper.setDaemon(true);
      keeper.start();
    }
  }

  @Override
  public boolean sufficientResourcesRegistered() {
    return totalRegisteredExecutors().get() >= executors * minRegisteredRatio();
  }

  @Override
  public void stop() {
    synchronized (this) {
      stopping = true;
    }
    super.stop(); // tells executors to end
    List<Process> left;
    synchronized (this) {
      left = List.copyOf(running);
    }
    try {
      long deadline = System.nanoTime() + TimeUnit.SECONDS.toNanos(STOP_SECONDS);
      for (Process executor : left) {
        executor.waitFor(deadline - System.nanoTime(), TimeUnit.NANOSECONDS);
      }
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
    }
    left.forEach(Process::destroyForcibly);
  }

  /** Runs one executor after the other, until the context ends. */
  private void keep() {
    try {
      for (Process executor = next(); executor != null; executor = next()) {
        executor.getInputStream().transferTo(System.err); // what it prints; its errors are there already
        int code = executor.waitFor();
        synchronized (this) {
          running.remove(executor);
          if (!stopping) {
            System.err.println("confide: an executor ended with exit code " + code);
          }
        }
      }
    } catch (IOException | RuntimeException e) {
      fail("an executor cannot be started or attended: " + e);
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
    }
  }

  /** Starts an executor; null if there is to be no more. */
  private Process next() throws IOException {
    synchronized (this) {
      if (stopping) {
        return null;
      }
      if (started < executors + Math.max(3, executors)) {
        Process executor = command(++started).start();
        running.add(executor);
        return executor;
      }
    }
    fail("too many executors were lost");
    return null;
  }

  private ProcessBuilder command(int number) throws IOException {
    File folder = new File(start.path("files").asText(), applicationId() + "-" + number);
    if (!folder.mkdir()) {
      throw new IOException("its folder cannot be made: " + folder);
    }
    List<String> command = new ArrayList<>();
    start.path("command").forEach(word -> command.add(word.asText()));
    String host = context.conf().get("spark.driver.host");
    command.addAll(List.of(
        "--driver-url", "spark://" + ENDPOINT_NAME() + "@" + host + ":" + context.conf().get("spark.driver.port"),
        "--executor-id", Integer.toString(number),
        "--bind-address", host,
        "--hostname", host,
        "--cores", cores,
        "--app-id", applicationId()));
    return new ProcessBuilder(command)
        .directory(folder)
        .redirectInput(new File("/dev/null"))
        .redirectError(Redirect.INHERIT);
  }

  private void fail(String why) {
    synchronized (this) {
      if (stopping) {
        return;
      }
    }
    try {
      scheduler.error(why);
    } finally {
      context.stopInNewThread();
    }
  }
}
