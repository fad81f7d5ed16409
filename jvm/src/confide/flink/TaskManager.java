package confide.flink;

import confide.AgentClient;
import org.apache.flink.runtime.taskexecutor.TaskManagerRunner;

/** The JVM of a confined task manager: Flink's own, given its secrets and hardened settings by the agent's socket. */
public final class TaskManager {
  private TaskManager() {}

  /**
   * @param args none.
   */
  public static void main(String[] args) throws Exception {
    TaskManagerRunner.runTaskManagerProcessSecurely(
        Hardening.installTaskManager(AgentClient.fromEnvironment().secret("executor")));
  }
}
